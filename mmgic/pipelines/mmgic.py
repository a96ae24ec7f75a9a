"""MMGIC: annotations -> cleaned -> captions -> regions -> tokens -> documents/repeat_k (Sections 2.1 to 2.4).

Each stage writes a folder under `<output>/mmgic`, beside the settings that its rows depend on. Files that a stage reads
from outside are among these by their digests; image files are not, for they are many and large.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial

from mmgic import schema
from mmgic.cleaning.clean import clean_row
from mmgic.cleaning.counting import CountsBySource, objects_by_source, predicates_by_source
from mmgic.cleaning.labels import KeptLabels, kept_labels
from mmgic.cleaning.senses import load_names
from mmgic.documents.make import MakeDocument
from mmgic.model.vocabulary import VLVocabulary
from mmgic.pipelines.captions import run_captions
from mmgic.pipelines.common import (
    corpus_folder,
    document_inputs,
    file_digests,
    read_annotations,
    run_tokens,
    sources_of,
    stage,
    stages_run,
    table_of,
)
from mmgic.regions import FindRegions
from mmgic.settings import Settings
from mmgic.stages.passes import fold
from mmgic.stages.rows import EachRow
from mmgic.stages.tables import Manifest


def build_mmgic(settings: Settings, vocabulary: VLVocabulary) -> list[Manifest]:
    """Runs the stages of the detection sources and returns their manifests; the documents' tables are the last ones."""
    annotations = read_annotations(settings, "mmgic")
    cleaned = run_cleaning(settings)
    captioned = run_captions(settings, "mmgic", table_of(settings, cleaned), schema.ANNOTATED_IMAGE)
    regions = _regions(settings, table_of(settings, captioned))
    tokens = run_tokens(settings, "mmgic", table_of(settings, regions), schema.TOKENIZED_IMAGE)
    documents = _documents(settings, vocabulary, tokens)
    return stages_run(annotations, cleaned, captioned, regions, tokens, *documents)


def run_cleaning(settings: Settings) -> Manifest:
    """Makes `mmgic/cleaned` from the annotations (F.2, all steps but the removal of invalid labels)."""
    folder, names = corpus_folder(settings, "mmgic"), settings.labels.names
    return stage(
        settings,
        name="mmgic/cleaned",
        table=f"{folder}/annotations",
        output=f"{folder}/cleaned",
        schema=schema.ANNOTATED_IMAGE,
        settings={
            "cleaning": asdict(settings.cleaning),
            "min_label_count": {source.name: source.min_label_count for source in sources_of(settings, "mmgic")},
            "names": list(file_digests([names]).values()) if names else [],
        },
        make_transform=partial(_cleaning_transform, settings, f"{folder}/annotations"),
    )


def _cleaning_transform(settings: Settings, annotations: str) -> EachRow:
    """Counts labels over the whole table, then returns the cleaning of its rows (F.2)."""
    sources = {source.name: source for source in sources_of(settings, "mmgic")}
    cleaning, workers = settings.cleaning, settings.cluster.data_workers
    print("mmgic/cleaned: counting labels", flush=True)

    names = load_names(settings.labels.names) if settings.labels.names else {}

    def labels_of(counts: CountsBySource) -> Mapping[str, KeptLabels]:
        return {
            name: kept_labels(counts.of(name), source, cleaning, names.get(name)) for name, source in sources.items()
        }

    counts = fold(annotations, partial(objects_by_source, sources=sources, cleaning=cleaning), workers)
    count = partial(predicates_by_source, labels=labels_of(counts), sources=sources, cleaning=cleaning)
    counts += fold(annotations, count, workers)
    labels = labels_of(counts)
    return EachRow(partial(clean_row, labels=labels, sources=sources, cleaning=cleaning))


def _regions(settings: Settings, table: str) -> Manifest:
    from mmgic.vision.folders import load_config

    patches = load_config(settings.vision.checkpoint).grid
    return stage(
        settings,
        name="mmgic/regions",
        table=table,
        output=f"{corpus_folder(settings, 'mmgic')}/regions",
        schema=schema.IMAGE_WITH_REGIONS,
        settings={"regions": asdict(settings.regions), "patches": patches, **_descriptions(settings)},
        make_transform=lambda: EachRow(FindRegions(settings.regions, patches, settings.descriptions)),
    )


def _descriptions(settings: Settings) -> dict[str, list[str]]:
    """The file of label descriptions by its digest."""
    return {"descriptions": list(file_digests([settings.descriptions]).values()) if settings.descriptions else []}


def _documents(settings: Settings, vocabulary: VLVocabulary, tokens: Manifest) -> list[Manifest]:
    """A table for each repeat (F.7: V3Det and Visual Genome 3), of the sources that are repeated that often."""
    sources, folder = sources_of(settings, "mmgic"), corpus_folder(settings, "mmgic")
    inputs = {**document_inputs(settings, vocabulary), **_descriptions(settings)}
    manifests = []
    for repeat in range(max(source.repeats for source in sources)):
        repeated = [source.name for source in sources if source.repeats > repeat]
        kept = tuple(name for name in repeated if tokens.sources.get(name, {}).get("kept"))
        if not kept:
            continue
        make = MakeDocument(
            settings.model.llm, settings.descriptions, vocabulary, settings.documents, settings.seed, repeat
        )
        manifests.append(
            stage(
                settings,
                name=f"mmgic/documents/repeat_{repeat}",
                table=f"{folder}/tokens",
                output=f"{folder}/documents/repeat_{repeat}",
                schema=schema.DOCUMENT,
                settings={**inputs, "repeat": repeat},
                make_transform=partial(EachRow, make, repeat=repeat),
                sources=kept,
            )
        )
    return manifests
