"""Which words of an answer its references bear out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

# words that say nothing about an image by themselves
_FUNCTION_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be by for from has have in into is it its of on or that the there this to was were with",
    )
)


@dataclass(frozen=True)
class MarkedWord:
    """A piece of an answer; `mark` is "" for what is not judged: function words, spaces, punctuation."""

    text: str
    mark: Literal["", "right", "wrong"]


def marked_words(answer: str, references: Iterable[str]) -> list[MarkedWord]:
    """The pieces of `answer`, whose texts joined give it again. A word is right if a reference has it, in the singular
    or the plural and in any case, and wrong if none does. Without references nothing is judged."""
    known = {_root(word) for reference in references for word in re.findall(r"\w+", reference)}
    return [MarkedWord(piece, _mark(piece, known)) for piece in re.findall(r"\w+|\W+", answer)]


def _mark(piece: str, known: set[str]) -> Literal["", "right", "wrong"]:
    if not known or not re.match(r"\w", piece) or piece.lower() in _FUNCTION_WORDS:
        return ""
    return "right" if _root(piece) in known else "wrong"


def _root(word: str) -> str:
    lower = word.lower()
    return lower[:-1] if len(lower) > 3 and lower.endswith("s") and not lower.endswith("ss") else lower
