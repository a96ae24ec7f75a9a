"""The two counting passes over a dataset's rows, before any row is cleaned (F.2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from mmgic.cleaning.images import image_fault
from mmgic.cleaning.labels import KeptLabels, LabelCounts
from mmgic.cleaning.objects import clean_objects, object_fault
from mmgic.schema import AnnotatedImage
from mmgic.settings import CleaningSettings, SourceSettings
from mmgic.sources.formats import FORMATS

# set aside after the counts of F.2, in its last step
SPLIT_REASONS = ("heldout_split", "validation_split")


def count_objects(rows: Iterable[AnnotatedImage], source: SourceSettings, cleaning: CleaningSettings) -> LabelCounts:
    """Counts the (label, synset) pairs of the rows of `source`: the first pass."""
    counts: Counter[tuple[str, str]] = Counter()
    for row in filter(_counts, rows):
        objects = row["objects"]
        if FORMATS[source.format].noisy_labels:
            objects = [] if image_fault(row, cleaning) else [o for o in objects if not object_fault(o, row, cleaning)]
        counts.update((o["label"], o["synset"]) for o in objects)
    return LabelCounts(objects=counts)


def count_predicates(
    rows: Iterable[AnnotatedImage], labels: KeptLabels, source: SourceSettings, cleaning: CleaningSettings
) -> LabelCounts:
    """Counts the attributes and relationships of the objects that stay: the second pass, with `labels` of the first."""
    attributes: Counter[str] = Counter()
    relationships: Counter[str] = Counter()
    for row in filter(_counts, rows):
        if image_fault(row, cleaning):
            continue
        kept = {o["object_id"] for o in clean_objects(row, labels, cleaning)[0]}
        attributes.update(a["label"] for a in row["attributes"] if a["object_id"] in kept)
        relationships.update(
            r["label"] for r in row["relationships"] if r["subject_id"] in kept and r["object_id"] in kept
        )
    return LabelCounts(attributes=attributes, relationships=relationships)


def _counts(row: AnnotatedImage) -> bool:
    return bool(row["keep"]) or row["reason"] in SPLIT_REASONS


@dataclass(frozen=True)
class CountsBySource:
    """Label counts of each source; those of a further batch are added in place, with +=."""

    sources: dict[str, LabelCounts] = field(default_factory=dict)

    def __iadd__(self, other: CountsBySource) -> Self:
        for name, counts in other.sources.items():
            merged = self.sources.setdefault(name, LabelCounts())
            merged += counts
        return self

    def of(self, source: str) -> LabelCounts:
        return self.sources.get(source, LabelCounts())


def objects_by_source(
    rows: list[AnnotatedImage], sources: Mapping[str, SourceSettings], cleaning: CleaningSettings
) -> CountsBySource:
    """The first counting pass of `mmgic.cleaning` over rows of any sources."""
    return _by_source(rows, lambda group, name: count_objects(group, sources[name], cleaning))


def predicates_by_source(
    rows: list[AnnotatedImage],
    labels: Mapping[str, KeptLabels],
    sources: Mapping[str, SourceSettings],
    cleaning: CleaningSettings,
) -> CountsBySource:
    """The second counting pass, with the labels that each source keeps after the first."""
    return _by_source(rows, lambda group, name: count_predicates(group, labels[name], sources[name], cleaning))


def _by_source(rows: list[AnnotatedImage], count: Callable[[list[AnnotatedImage], str], LabelCounts]) -> CountsBySource:
    groups: dict[str, list[AnnotatedImage]] = {}
    for row in rows:
        groups.setdefault(row["source"], []).append(row)
    return CountsBySource({name: count(group, name) for name, group in groups.items()})
