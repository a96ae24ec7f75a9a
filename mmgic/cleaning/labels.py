"""Which labels stay, by how often they occur in the whole dataset, and what they are called (F.2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from mmgic.settings import CleaningSettings, SourceSettings
from mmgic.sources.formats import FORMATS

_PARTS_OF_SPEECH = {"v": "verb", "a": "adjective", "s": "adjective", "r": "adverb"}


@dataclass(frozen=True)
class LabelCounts:
    """How often each label occurs; those of a further batch are added in place, with +=."""

    objects: Counter[tuple[str, str]] = field(default_factory=Counter)  # (label, synset or "") -> count
    attributes: Counter[str] = field(default_factory=Counter)
    relationships: Counter[str] = field(default_factory=Counter)

    def __iadd__(self, other: LabelCounts) -> Self:
        self.objects.update(other.objects)
        self.attributes.update(other.attributes)
        self.relationships.update(other.relationships)
        return self


@dataclass(frozen=True)
class KeptLabels:
    """The labels that stay. An object's label and synset as annotated lead to its final name and synset."""

    objects: Mapping[tuple[str, str], tuple[str, str]]
    attributes: frozenset[str]
    relationships: frozenset[str]


def kept_labels(
    counts: LabelCounts,
    source: SourceSettings,
    cleaning: CleaningSettings,
    names: Mapping[tuple[str, str], str] | None = None,
) -> KeptLabels:
    """Decides from the counts which labels stay and what they are called.

    An object without a synset is taken for its label's most frequent synset (of equals the first by name). Pairs seen
    fewer than `source.min_label_count` times go. A label left with several synsets is told apart by `names`, which maps
    (label, synset) to a name, or by `sense_name` if that has none. Only noisy labels (Visual Genome's) have a least
    frequency of attributes and relationships.
    """
    synsets: dict[str, dict[str, int]] = {}
    for (label, synset), count in counts.objects.items():
        synsets.setdefault(label, {})[synset] = count
    objects: dict[tuple[str, str], tuple[str, str]] = {}
    for label, annotated in synsets.items():
        totals = dict(sorted(annotated.items()))
        unmapped = totals.pop("", 0)
        usual = max(totals, key=totals.__getitem__, default="")
        if unmapped:
            totals[usual] = totals.get(usual, 0) + unmapped
        kept = [synset for synset, count in totals.items() if count >= source.min_label_count]
        for synset in kept:
            given = (names or {}).get((label, synset))
            objects[label, synset] = (given or (sense_name(label, synset) if len(kept) > 1 else label), synset)
        if unmapped and usual in kept:
            objects[label, ""] = objects[label, usual]
    thresholds = FORMATS[source.format].noisy_labels
    return KeptLabels(
        objects,
        _frequent(counts.attributes, cleaning.min_attribute_count if thresholds else 1),
        _frequent(counts.relationships, cleaning.min_relationship_count if thresholds else 1),
    )


def _frequent(counts: Mapping[str, int], least: int) -> frozenset[str]:
    return frozenset(label for label, count in counts.items() if label and count >= least)


def sense_name(label: str, synset: str) -> str:
    """A name that tells one label's synsets apart by what the synset's name says, without a dictionary.

    ("batter", "ballplayer.n.01") -> "batter (ballplayer)", ("batter", "batter.n.02") -> "batter (sense 2)"; the label's
    own first noun sense stays "batter".
    """
    lemma, part, sense = [*synset.replace("_", " ").rsplit(".", 2), "", ""][:3]
    marks = [
        lemma if lemma != label else "",
        _PARTS_OF_SPEECH.get(part, ""),
        f"sense {int(sense)}" if sense.isdecimal() and int(sense) > 1 else "",
    ]
    keywords = ", ".join(filter(None, marks))
    return f"{label} ({keywords})" if keywords else label
