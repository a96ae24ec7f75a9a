"""Token ids of texts that repeat their lines and words, which documents do: labels, descriptions, headings, prompts.

Of many tokenizers no token reaches from a letter or mark to a space or line break after it. Their ids of a text are
then those of its words one after the other, each with the space before it, whatever stands around it. Whether a
tokenizer is of that kind is read from its definition and tried out when it is loaded; of others, whole texts alone are
remembered.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Ids = tuple[int, ...]

MOST = 1 << 15  # texts in each half of a memory
# What an engine of regular expressions may take for a space, or sentencepiece: after one nothing is parted
_BLANK = r"[\s\x00-\x20\x7f-\xa0\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2581\u3000\ufeff]"
_BLANKS = frozenset(re.findall(_BLANK, "".join(map(chr, range(0x10000)))))
_WORDS = re.compile(rf"(?=[ \n])(?<!{_BLANK})(?!^)")
_ANCHOR = "x"  # stands before a part that is no beginning of a text
_TRIALS = (
    "# A title\n\nImage: ",
    "\nCaption: it's 2 naïve dogs' <</SYS>>\n\n\n- on {a-b}: 日本 cups.  \n",
    "[INST] a\n\tb [/INST] 3,000 </s> e\u0301\U0001f600 f!\r\n g",
    " two  spaces ▁x ▁ y\n \n z",
)


class Memory:
    """What `compute` returned for the texts that were asked for last: between MOST and twice as many."""

    def __init__(self, compute: Callable[[str], Ids]) -> None:
        self._compute = compute
        self._young: dict[str, Ids] = {}
        self._old: dict[str, Ids] = {}

    def __call__(self, text: str) -> Ids:
        if (ids := self._young.get(text)) is not None:
            return ids
        if (ids := self._old.get(text)) is None:
            ids = self._compute(text)
        if len(self._young) >= MOST:
            self._young, self._old = {}, self._young
        self._young[text] = ids
        return ids


class CachedIds:
    """The ids of texts, without start and end tokens, special tokens spelled out in a text being plain characters."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._backend = _plain_backend(tokenizer)
        self._texts, self._first = Memory(self._whole), Memory(self._beginning)
        self._lines, self._words = Memory(self._of_words), Memory(self._inside)
        self._before = len(self._whole(_ANCHOR))
        self._parted = self._backend is not None and _parts_at_spaces(json.loads(self._backend.to_str()))
        self._parted = self._parted and all(self(text) == list(self._whole(text)) for text in _TRIALS)

    def __call__(self, text: str) -> list[int]:
        if not self._parted:
            return list(self._texts(text))
        first, *lines = _lines(text)
        ids = list(self._first(first))
        for line in lines:
            ids += self._lines(line)
        return ids

    def after(self, context: str, text: str) -> list[int] | None:
        """The ids that `context + text` has beyond those of `context`; None if a token may reach over the border."""
        if not (self._parted and context and context[-1] not in _BLANKS and text[:1] in (" ", "\n")):
            return None
        return [token for line in _lines(text) for token in self._lines(line)]

    def _beginning(self, line: str) -> Ids:
        first, *words = _WORDS.split(line)
        return (*self._whole(first), *(token for word in words for token in self._words(word)))

    def _of_words(self, line: str) -> Ids:
        return tuple(token for word in _WORDS.split(line) for token in self._words(word))

    def _inside(self, part: str) -> Ids:
        """The ids of a part inside a text, which begins with a space or line break."""
        return self._whole(_ANCHOR + part)[self._before :]

    def _whole(self, text: str) -> Ids:
        if self._backend is not None:
            return tuple(self._backend.encode(text, add_special_tokens=False).ids)
        return tuple(
            self._tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False).input_ids
        )


def _lines(text: str) -> list[str]:
    """The parts of a text, cut before each line break that follows no blank; a regular expression takes ten times as
    long."""
    first, *others = text.split("\n")
    parts = [first]
    for other in others:
        if parts[-1] and parts[-1][-1] not in _BLANKS:
            parts.append(f"\n{other}")
        else:
            parts[-1] += f"\n{other}"
    return parts


@functools.lru_cache(8)
def cached_ids(tokenizer: PreTrainedTokenizerBase) -> CachedIds:
    """One for each tokenizer and process."""
    return CachedIds(tokenizer)


def _plain_backend(tokenizer: PreTrainedTokenizerBase) -> Any:
    """A copy of a fast tokenizer's inner one, which takes a special token in a text for its characters; else None."""
    if not tokenizer.is_fast:
        return None
    from tokenizers import Tokenizer

    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.encode_special_tokens = True
    backend.no_truncation()
    backend.no_padding()
    return backend


def _parts_at_spaces(definition: dict[str, Any]) -> bool:
    """Whether a tokenizer.json is of a kind whose ids part before every space or line break after another character."""
    model, before = definition["model"], definition["pre_tokenizer"]
    added = [token["content"] for token in definition["added_tokens"] if not token["special"]]
    if model["type"] != "BPE" or model.get("dropout") or model.get("ignore_merges") or added:
        return False
    if before is not None:  # GPT-2's pattern begins anew at every change from other characters to spaces
        return before["type"] == "ByteLevel" and before.get("use_regex", True) and definition["normalizer"] is None
    return _is_sentencepiece(definition["normalizer"]) and not _crosses_a_space(model["vocab"])


def _is_sentencepiece(normalizer: dict[str, Any] | None) -> bool:
    steps: Sequence[dict[str, Any]] = (normalizer or {}).get("normalizers", [normalizer or {}])
    replaces = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    return replaces in steps and all(step in (replaces, {"type": "Prepend", "prepend": "▁"}) for step in steps)


def _crosses_a_space(vocabulary: dict[str, int]) -> bool:
    """Whether a token reaches from another character to a space, or holds a line break beside others."""
    return any(re.search("[^▁]▁|.\n|\n.", token, re.DOTALL) for token in vocabulary)
