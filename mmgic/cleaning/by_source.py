"""The cleaning and regions stages on rows of several sources at once: each row by the rules of its own source.

Kept apart from `mmgic.pipelines` because worker processes import it: nothing here loads a model library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Self

from mmgic.cleaning.clean import clean_image, remove_invalid_labels
from mmgic.cleaning.counting import count_objects, count_predicates
from mmgic.cleaning.labels import KeptLabels, LabelCounts
from mmgic.descriptions.reading import read_descriptions
from mmgic.regions import make_regions
from mmgic.settings import CleaningSettings, RegionSettings, SourceSettings
from mmgic.stages.rows import Row


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


def _by_source(rows: list[Row], count: Callable[[list[Row], str], LabelCounts]) -> CountsBySource:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["source"], []).append(row)
    return CountsBySource({name: count(group, name) for name, group in groups.items()})


def objects_by_source(
    rows: list[Row], sources: Mapping[str, SourceSettings], cleaning: CleaningSettings
) -> CountsBySource:
    """The first counting pass of `mmgic.cleaning` over rows of any sources."""
    return _by_source(rows, lambda group, name: count_objects(group, sources[name], cleaning))


def predicates_by_source(
    rows: list[Row],
    labels: Mapping[str, KeptLabels],
    sources: Mapping[str, SourceSettings],
    cleaning: CleaningSettings,
) -> CountsBySource:
    """The second counting pass, with the labels that each source keeps after the first."""
    return _by_source(rows, lambda group, name: count_predicates(group, labels[name], sources[name], cleaning))


def clean_row(
    row: Row,
    labels: Mapping[str, KeptLabels],
    sources: Mapping[str, SourceSettings],
    cleaning: CleaningSettings,
) -> Row:
    """`clean_image` with the labels and rules of the row's source."""
    return clean_image(row, labels[row["source"]], sources[row["source"]], cleaning)


@dataclass(frozen=True)
class FindRegions:
    """Cleaned row -> IMAGE_WITH_REGIONS row: labels that a description calls invalid go (F.2 step 8), regions come."""

    settings: RegionSettings
    patches: int
    descriptions: str  # file of label descriptions; "" for none

    def __call__(self, row: Row) -> Row:
        invalid = read_descriptions(self.descriptions).of(row["source"]).invalid
        return make_regions(remove_invalid_labels(row, invalid), self.settings, self.patches)
