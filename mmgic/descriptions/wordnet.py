"""WordNet 3.0 from its own database files: what a synset means, and names that tell a label's senses apart.

The folder is what WordNet itself and Debian's wordnet-base install (data.noun, index.noun, ...). A reader of our own,
because no library takes that folder as it is: NLTK's insists on a `lexnames` file that Debian leaves out and on a place
inside its own download folder, and `wn` reads only its own XML form.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmgic.errors import InputError

_PARTS = {"n": "noun", "v": "verb", "a": "adj", "s": "adj", "r": "adv"}
_GENERIC = ("thing", "object", "entity", "unit", "part", "piece", "kind", "type", "someone", "something", "person")


@dataclass(frozen=True)
class Synset:
    """One meaning."""

    name: str  # lemma.pos.NN: the rank of this meaning among those of its first word, as Visual Genome counts them
    words: tuple[str, ...]  # with blanks between the parts of a word
    definition: str  # the gloss without its examples
    hypernyms: tuple[int, ...]  # offsets of the more general nouns or verbs, in the file of the same part of speech


class WordNet:
    """The synsets of one folder of database files, by name. Definitions are read from disk when asked for.

    Raises InputError if the folder lacks one of the eight files.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._offsets: dict[tuple[str, str], tuple[int, ...]] = {}  # (part, lemma) -> its synsets, first meaning first
        try:
            self._data = {part: open(self.folder / f"data.{part}", "rb") for part in set(_PARTS.values())}  # noqa: SIM115
            for part in self._data:
                self._read_index(part)
        except OSError as error:
            raise InputError(
                f"{folder} is no WordNet folder ({error.strerror}: {error.filename}); install WordNet 3.0, such as "
                "Debian's wordnet-base, and set labels.wordnet to its folder"
            ) from None

    def synset(self, name: str) -> Synset | None:
        """The synset called `name`, such as "batter.n.01", or None if there is none."""
        lemma, kind, rank = ["", "", *name.rsplit(".", 2)][-3:]
        part = _PARTS.get(kind, "")
        offsets = self._offsets.get((part, lemma.lower()), ())
        if not rank.isdecimal() or not 1 <= int(rank) <= len(offsets):
            return None
        return self._read(part, offsets[int(rank) - 1])

    def definition(self, name: str) -> str:
        """What the synset called `name` means, "" if there is none."""
        synset = self.synset(name)
        return synset.definition if synset else ""

    def names(self) -> list[str]:
        """The names of all synsets, sorted."""
        offsets = {(part, offset) for (part, _), senses in self._offsets.items() for offset in senses}
        return sorted(self._read(part, offset).name for part, offset in offsets)

    def sense_names(self, label: str, synsets: Sequence[str]) -> dict[str, str]:
        """Synset -> a name for `label` in that sense, such as "batter (ballplayer)".

        Absent are synsets that WordNet lacks and those that no word tells apart.
        The word in brackets is the first of these that no other sense has: what else the synset is called where the
        label is none of its words, the more general word, its other words, the first nouns of its definition.
        """
        found = {name: synset for name in synsets if (synset := self.synset(name))}
        keywords = {name: self._keywords(label, synset) for name, synset in found.items()}
        names = {}
        for name, own in keywords.items():
            others = {word for other, words in keywords.items() if other != name for word in words}
            keyword = next((word for word in own if word not in others), "")
            if keyword:
                names[name] = f"{label} ({keyword})"
        return names

    def _keywords(self, label: str, synset: Synset) -> list[str]:
        """Words that may tell this meaning of `label` from others, the best first."""
        own = [word for word in synset.words if word.lower() != label.lower()]
        part = _PARTS[synset.name.rsplit(".", 2)[1]]
        general = [self._read(part, offset).words[0] for offset in synset.hypernyms]
        ordered = [*general, *own] if len(own) < len(synset.words) else [*own, *general]
        phrase = _head_phrase(synset.definition)
        candidates = [*ordered, *([phrase] if phrase else [])]
        wanted = [word.lower() for word in candidates if word.lower() != label.lower()]
        return [*(w for w in wanted if w not in _GENERIC), *(w for w in wanted if w in _GENERIC)]

    def _read_index(self, part: str) -> None:
        with open(self.folder / f"index.{part}", encoding="utf-8") as lines:
            for line in lines:
                if not line.startswith(" "):  # the licence is indented
                    lemma, _, count, *fields = line.split()
                    self._offsets[part, lemma] = tuple(map(int, fields[len(fields) - int(count) :]))

    def _read(self, part: str, offset: int) -> Synset:
        file = self._data[part]
        file.seek(offset)
        fields, _, gloss = file.readline().decode().partition(" | ")
        start, _, kind, count, *rest = fields.split()
        if int(start) != offset:
            raise InputError(f"{file.name} does not belong to the index beside it; install WordNet 3.0 again")
        words = [re.sub(r"\(.*\)$", "", word) for word in rest[: 2 * int(count, 16) : 2]]  # "(p)" marks adjectives
        pointers = rest[2 * int(count, 16) + 1 :]
        number = int(rest[2 * int(count, 16)])
        quadruples = [pointers[4 * i : 4 * i + 4] for i in range(number)]
        hypernyms = tuple(int(target) for symbol, target, _, _ in quadruples if symbol in ("@", "@i"))
        lemma = words[0].lower()
        rank = self._offsets[part, lemma].index(offset) + 1
        definition = re.split(r';\s*"', gloss.strip())[0].strip().removesuffix(";")
        return Synset(
            f"{lemma}.{kind}.{rank:02}", tuple(word.replace("_", " ") for word in words), definition, hypernyms
        )


def _head_phrase(definition: str) -> str:
    """The beginning of a definition, up to where it starts to explain: "a metal board for cards" -> "metal board"."""
    text = re.sub(r"^(\([^)]*\)\s*)+", "", definition)
    text = re.split(r"[,;(]|\s(?:of|for|that|which|who|with|used|in|on|to|from|by|or|and|as|at|having|made)\s", text)[0]
    words = re.sub(r"^(?:a|an|the|any|some|one|used)\s", "", text).split()
    return " ".join(words[:3])
