"""The paper's numbers about its data, of what a run folder holds: Sections 2 and G, Tables 13 to 15, Figures 12 and 13.

Finished tables are streamed, a batch at a time, so memory grows with distinct labels alone. Needs no Ray.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmgic.analysis.frequency import Curve, curve
from mmgic.analysis.phrases import FREQUENCIES, Frequencies, read_frequencies
from mmgic.analysis.published import (
    AESTHETIC_COLLECTED,
    GENERAL_COLLECTED,
    GENERAL_SELECTED,
    IC_IMAGES,
    LABEL_DESCRIPTION_PAIRS,
    UNIQUE_IMAGES,
    UNIQUE_REGIONS,
)
from mmgic.descriptions.reading import Descriptions, load_descriptions
from mmgic.documents.folders import document_tables, documents_folder
from mmgic.errors import InputError
from mmgic.files import find_files, read_mapping, read_text
from mmgic.paths import absolute
from mmgic.schema import CORPORA
from mmgic.settings import DocumentSettings
from mmgic.sources.formats import FORMATS
from mmgic.stages.places import Places
from mmgic.stages.tables import SETTINGS, Table, open_table, select

RARE = 5  # Figure 12's text: labels with a frequency below this
BEFORE_TOKENS = ("mmgic/regions", "mmgic/captions", "mmgic/cleaned")  # Table 13 counts the first that is there
COLLECTED = ("sft/sampled", "sft/unique", "sft/annotations")  # the same for Table 14
KINDS = ("objects", "attributes", "relationships")

LabelCounts = Counter[tuple[str, str, str]]  # by (kind, source, label)

PLAYBACK = "MMGIC playback"
TYPES = {
    "image_conversation": "Multimodal understanding",
    "open_vqa": "Multimodal understanding",
    "multiple_choice": "Multimodal understanding",
    "detailed_caption": "Multimodal understanding",
    "image_caption": "Multimodal understanding",
    "image_editing": "Multimodal generation",
    "text_to_image": "Multimodal generation",
    "text_only": "Text-only",
    "image_first": PLAYBACK,
    "text_first": PLAYBACK,
}  # of Table 14, by task or template


@dataclass(frozen=True)
class DetectionCount:
    """A row of Table 13. Regions, images and concepts are those before tokenization; the rest is of all repeats."""

    source: str
    regions: int
    images: int
    concepts: int  # distinct pairs of label and description; the total adds up those of the sources, as the paper does
    visual_tokens: int
    text_tokens: int
    used_regions: int
    samples: int


@dataclass(frozen=True)
class InstructionCount:
    """A row of Table 14, for one source: kept records of one task."""

    type: str
    task: str
    source: str
    samples: int


@dataclass(frozen=True)
class TokenCount:
    """Kept documents and their tokens: a row of Table 15, or a corpus."""

    name: str
    visual_tokens: int
    text_tokens: int
    samples: int


@dataclass(frozen=True)
class ComparedCount:
    """A number of the paper's text; `paper` is how it is printed there."""

    name: str
    here: int
    paper: str


@dataclass(frozen=True)
class Statistics:
    """What a run folder holds; parts that were not built are empty."""

    collected: tuple[ComparedCount, ...]  # Sections 2.3 and G
    detection: tuple[DetectionCount, ...]  # Table 13, the last row is the total
    instructions: tuple[InstructionCount, ...]  # Table 14
    instruction_tokens: tuple[TokenCount, ...]  # Table 15, the last row is the total
    corpora: tuple[TokenCount, ...]
    labels: Mapping[str, Curve]  # Figure 12, by kind of label
    phrases: Frequencies | None  # Figure 13


def statistics(folder: str | os.PathLike[str], of: DocumentSettings | None = None) -> Statistics:
    """Counts the finished tables in the output folder of a run, and of its documents those of the settings `of`.

    These are the last build's if they are not given. Raises InputError if there are no tables.
    """
    places = Places(os.fspath(folder))
    found = {table.name: table for table in places.tables()}
    if not found:
        raise InputError(f"{absolute(folder)} holds no finished table; give the 'output' folder of a run")
    table = _first(found, BEFORE_TOKENS)
    labels, images_with = _label_counts(table)
    phrases = read_text(f"{places.folder('ic/selected')}/{FREQUENCIES}")
    of = of or built_documents(places)
    documents = document_tables(found.values(), of)
    descriptions = _descriptions(places)
    detection = _detection(table, labels, descriptions, documents)
    return Statistics(
        (*_section_2(detection, _described(images_with, descriptions)), *_section_g(found, documents, places)),
        detection,
        tuple(_instructions(found, of)),
        _instruction_tokens(documents),
        tuple(total for corpus in CORPORA if (total := _corpus(documents, corpus)).samples),
        {kind: _label_curve(labels, kind) for kind in KINDS if any(key[0] == kind for key in labels)},
        read_frequencies(phrases) if phrases else None,
    )


def _first(found: Mapping[str, Table], names: Sequence[str]) -> Table | None:
    """The first of these tables that is there."""
    return next((found[name] for name in names if name in found), None)


def _batches(table: Table, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Some columns of the kept rows."""
    yield from open_table(table.folder).to_batches(
        columns=list(columns), filter=select(), batch_readahead=2, fragment_readahead=1
    )


def _label_counts(table: Table | None) -> tuple[LabelCounts, LabelCounts]:
    """(kind, source, label) -> annotations, and -> images."""
    counts: LabelCounts = Counter()
    images: LabelCounts = Counter()
    for batch in _batches(table, ["source", *KINDS]) if table else ():
        for kind in KINDS:
            lists = batch.column(kind)
            parents = pc.list_parent_indices(lists)
            owners, found = batch.column("source").take(parents), pc.struct_field(lists.flatten(), "label")
            pairs = pa.table({"source": owners, "image": parents, "label": found})
            once = pairs.group_by(["source", "image", "label"]).aggregate([])
            for counter, of in ((counts, pairs), (images, once)):
                for row in of.group_by(["source", "label"]).aggregate([([], "count_all")]).to_pylist():
                    counter[kind, row["source"], row["label"]] += row["count_all"]
    return counts, images


def _described(images_with: LabelCounts, descriptions: Descriptions) -> int:
    """Pairs of a label and its description, each once in an image, as documents hold them."""
    return sum(
        number
        for (kind, source, label), number in images_with.items()
        if label in getattr(descriptions.of(source), kind)
    )


def _section_2(detection: Sequence[DetectionCount], pairs: int) -> Iterator[ComparedCount]:
    if detection:
        total = detection[-1]
        yield ComparedCount("MMGIC: images", total.images, UNIQUE_IMAGES)
        yield ComparedCount("MMGIC: object regions in documents", total.used_regions, UNIQUE_REGIONS)
        yield ComparedCount("MMGIC: label-description pairs", pairs, LABEL_DESCRIPTION_PAIRS)


def _section_g(found: Mapping[str, Table], documents: Sequence[Table], places: Places) -> Iterator[ComparedCount]:
    """General image-caption data are those that the noun-phrase filter chooses from; the others are aesthetic."""
    formats = {source.get("name"): source.get("format") for source in _built_with(places).get("sources") or ()}
    general = {name for name, format in formats.items() if format in FORMATS and FORMATS[format].filtered_caption}

    def kept(table: Table, of_general: bool) -> int:
        sources = table.manifest.sources.items()
        return sum(counts["kept"] for name, counts in sources if (name in general) == of_general)

    if (collected := found.get("ic/annotations")) and formats:
        yield ComparedCount("IC: general pairs collected", kept(collected, True), GENERAL_COLLECTED)
        yield ComparedCount("IC: aesthetic pairs collected", kept(collected, False), AESTHETIC_COLLECTED)
        if images := found.get("ic/images"):
            yield ComparedCount("IC: general pairs selected and downloaded", kept(images, True), GENERAL_SELECTED)
    if samples := _corpus(documents, "ic").samples:
        yield ComparedCount("IC: images in documents", samples, IC_IMAGES)


def _label_curve(labels: LabelCounts, kind: str) -> Curve:
    """Figure 12 is about the labels of all sources together."""
    counts: Counter[str] = Counter()
    for (of_kind, _, label), number in labels.items():
        if of_kind == kind:
            counts[label] += number
    return curve(np.array(list(counts.values())), RARE)


def _detection(
    table: Table | None,
    labels: LabelCounts,
    descriptions: Descriptions,
    documents: Sequence[Table],
) -> tuple[DetectionCount, ...]:
    if table is None:
        return ()
    images: Counter[str] = Counter()
    regions: Counter[str] = Counter()
    has_regions = "regions" in open_table(table.folder).schema.names
    for batch in _batches(table, ["source", *(["regions"] if has_regions else [])]):
        numbers = pc.list_value_length(batch.column("regions")) if has_regions else pa.array([0] * len(batch))
        grouped = pa.table({"source": batch.column("source"), "regions": numbers}).group_by("source")
        for row in grouped.aggregate([([], "count_all"), ("regions", "sum")]).to_pylist():
            images[row["source"]] += row["count_all"]
            regions[row["source"]] += row["regions_sum"]
    concepts = _concepts(labels, descriptions)
    counts = _documents(documents, "mmgic", "source")
    rows = [
        DetectionCount(name, regions[name], images[name], concepts[name], *counts.get(name, (0, 0, 0, 0)))
        for name in sorted(images)
    ]
    numbers = [
        (r.regions, r.images, r.concepts, r.visual_tokens, r.text_tokens, r.used_regions, r.samples) for r in rows
    ]
    return (*rows, DetectionCount("MMGIC", *map(sum, zip(*numbers, strict=True)))) if rows else ()


def _concepts(labels: LabelCounts, descriptions: Descriptions) -> Counter[str]:
    """Distinct pairs of label and description of each source."""
    pairs = {
        (source, kind, label, getattr(descriptions.of(source), kind).get(label, "")) for kind, source, label in labels
    }
    return Counter(source for source, *_ in pairs)


def built_documents(places: Places) -> DocumentSettings:
    """Which documents the last build in a run's output made."""
    documents = _built_with(places).get("documents") or {}
    return DocumentSettings(**{key: documents[key] for key in ("recipe", "name") if key in documents})


def _built_with(places: Places) -> Mapping[str, Any]:
    """The settings that the last build left in the output; {} if none did."""
    return read_mapping(places.folder(SETTINGS), "run the build again, which writes it anew") or {}


def _descriptions(places: Places) -> Descriptions:
    """The label descriptions that the run's settings name; none if they are gone."""
    path = _built_with(places).get("descriptions")
    return load_descriptions(path) if path and find_files(path) else Descriptions()


def _documents(documents: Sequence[Table], corpus: str, by: str) -> dict[str, tuple[int, int, int, int]]:
    """Visual tokens, text tokens, regions and samples of a corpus's kept documents by the column `by`."""
    columns = ("num_visual_tokens", "num_text_tokens", "num_regions")
    counts: dict[str, list[int]] = {}
    for table in (table for table in documents if table.corpus == corpus):
        for batch in _batches(table, [by, *columns]):
            sums = [*((column, "sum") for column in columns), ([], "count_all")]
            for row in pa.table(batch).group_by(by).aggregate(sums).to_pylist():
                so_far = counts.setdefault(row[by], [0, 0, 0, 0])
                added = [*(row[f"{column}_sum"] for column in columns), row["count_all"]]
                counts[row[by]] = [a + b for a, b in zip(so_far, added, strict=True)]
    return {name: (c[0], c[1], c[2], c[3]) for name, c in counts.items()}


def _instructions(found: Mapping[str, Table], of: DocumentSettings) -> Iterator[InstructionCount]:
    counts: Counter[tuple[str, str]] = Counter()
    rounds = (_first(found, COLLECTED), "task")
    # documents out of other corpora, which Table 14 counts too
    played_back = (documents_folder("sft/playback", of, of_recipe=True), documents_folder("sft/aesthetic", of))
    for table, by in (rounds, *((found.get(name), "template") for name in played_back)):
        for batch in _batches(table, ["source", by]) if table else ():
            for row in pa.table(batch).group_by(["source", by]).aggregate([([], "count_all")]).to_pylist():
                counts[row[by], row["source"]] += row["count_all"]
    order = list(TYPES)
    rank = {task: i for i, task in enumerate(order)}
    for (task, source), number in sorted(counts.items(), key=lambda item: (rank.get(item[0][0], len(rank)), item[0])):
        yield InstructionCount(TYPES.get(task, task), task, source, number)


def _instruction_tokens(documents: Sequence[Table]) -> tuple[TokenCount, ...]:
    totals: dict[str, list[int]] = {name: [0, 0, 0] for name in dict.fromkeys(TYPES.values())}
    for template, (visual, text, _, samples) in _documents(documents, "sft", "template").items():
        so_far = totals.setdefault(TYPES.get(template, template), [0, 0, 0])
        totals[TYPES.get(template, template)] = [so_far[0] + visual, so_far[1] + text, so_far[2] + samples]
    rows = [TokenCount(name, *numbers) for name, numbers in totals.items() if numbers[2]]
    return (*rows, _corpus(documents, "sft", "Total")) if rows else ()


def _corpus(documents: Sequence[Table], corpus: str, name: str = "") -> TokenCount:
    numbers = _documents(documents, corpus, "source").values()
    visual, text, _, samples = (sum(column) for column in zip(*numbers, strict=True)) if numbers else (0, 0, 0, 0)
    return TokenCount(name or corpus, visual, text, samples)
