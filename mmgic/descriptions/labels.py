"""The concepts of a built dataset: its label names by source and kind, with what they occur beside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self

from mmgic.descriptions import KINDS, Kind

Row = dict[str, Any]
Key = tuple[str, str, str]  # source, kind, label


@dataclass(frozen=True)
class Concept:
    """A label of one source, which is unique with its kind."""

    source: str
    kind: Kind
    label: str
    count: int  # how often it is annotated
    related: tuple[str, ...] = ()  # objects of an attribute, "[subject, object]" of a relationship; most frequent first
    synset: str = ""  # the most frequent one of an object label

    @property
    def key(self) -> Key:
        return self.source, self.kind, self.label


@dataclass(frozen=True)
class LabelUses:
    """How often the labels of each source are used, and with what; those of a further batch are added with +=.

    Memory grows with the number of different (relationship, subject, object) labels, not with the images.
    """

    objects: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # (source, label, synset)
    attributes: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # (source, label, object)
    relationships: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)  # (source, label, subj., obj.)

    def __iadd__(self, other: LabelUses) -> Self:
        self.objects.update(other.objects)
        self.attributes.update(other.attributes)
        self.relationships.update(other.relationships)
        return self

    def concepts(self, related: int) -> list[Concept]:
        """The labels sorted by source, kind and label, each with up to `related` of what it occurs beside."""
        synsets = ((source, label, synset, n) for (source, label, synset), n in self.objects.items())
        owners = ((source, label, owner, n) for (source, label, owner), n in self.attributes.items())
        pairs = ((source, label, f"[{s}, {o}]", n) for (source, label, s, o), n in self.relationships.items())
        found = [
            *(
                Concept(source, "object", label, beside.total(), synset=_most_frequent(beside, 1)[0])
                for (source, label), beside in _beside(synsets)
            ),
            *(
                Concept(source, "attribute", label, beside.total(), _most_frequent(beside, related))
                for (source, label), beside in _beside(owners)
            ),
            *(
                Concept(source, "relationship", label, beside.total(), _most_frequent(beside, related))
                for (source, label), beside in _beside(pairs)
            ),
        ]
        return sorted(found, key=lambda c: (c.source, KINDS.index(c.kind), c.label))


def count_uses(rows: Iterable[Row]) -> LabelUses:
    """Counts the labels of the kept rows (of `schema.ANNOTATED_IMAGE`): the one pass."""
    objects: Counter[tuple[str, str, str]] = Counter()
    attributes: Counter[tuple[str, str, str]] = Counter()
    relationships: Counter[tuple[str, str, str, str]] = Counter()
    for row in rows:
        if not row["keep"]:
            continue
        source, names = row["source"], {thing["object_id"]: thing["label"] for thing in row["objects"]}
        objects.update((source, thing["label"], thing["synset"]) for thing in row["objects"])
        attributes.update((source, a["label"], names[a["object_id"]]) for a in row["attributes"])
        relationships.update(
            (source, r["label"], names[r["subject_id"]], names[r["object_id"]]) for r in row["relationships"]
        )
    return LabelUses(objects, attributes, relationships)


def _beside(
    uses: Iterable[tuple[str, str, str, int]],
) -> list[tuple[tuple[str, str], Counter[str]]]:
    """(source, label, what it is used with, count) as the counts of each (source, label), sorted."""
    groups: dict[tuple[str, str], Counter[str]] = {}
    for source, label, other, number in uses:
        groups.setdefault((source, label), Counter())[other] += number
    return sorted(groups.items())


def _most_frequent(counts: Counter[str], limit: int) -> tuple[str, ...]:
    """The most frequent names, of equals the first by name."""
    return tuple(sorted(counts, key=lambda name: (-counts[name], name))[:limit])
