"""MMGIC: annotations -> cleaned -> captions -> regions -> tokens -> documents/repeat_k (Sections 2.1 to 2.4).

Each stage writes a folder under `<output>/mmgic`, beside the settings that its rows depend on. Files that a stage reads
from outside are among these by their digests; image files are not, for they are many and large.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial

from mmgic import schema
from mmgic.cleaning import KeptLabels, kept_labels
from mmgic.documents.transform import MakeDocument
from mmgic.model.vocabulary import VLVocabulary
from mmgic.pipelines.common import (
    corpus_folder,
    document_inputs,
    file_digests,
    read_annotations,
    run_tokens,
    sources_of,
    stage,
    vision_config,
)
from mmgic.regions import make_regions
from mmgic.settings import Settings
from mmgic.stage import fold
from mmgic.steps import CountsBySource, clean_row, objects_by_source, predicates_by_source
from mmgic.tables import Manifest
from mmgic.transform import EachRow


def build_mmgic(settings: Settings, vocabulary: VLVocabulary) -> list[Manifest]:
    """Runs the stages of the detection sources and returns their manifests; the documents' tables are the last ones."""
    folder = corpus_folder(settings, "mmgic")
    vision = vision_config(settings.vision.checkpoint)
    annotations = read_annotations(settings, "mmgic")
    cleaned = _cleaned(settings, folder)
    regions = _regions(settings, folder, vision.grid)
    tokens = run_tokens(settings, "mmgic", f"{folder}/regions", schema.TOKENIZED_IMAGE)
    return [annotations, cleaned, regions, tokens, *_documents(settings, folder, vocabulary, tokens)]


def _cleaned(settings: Settings, folder: str) -> Manifest:
    return stage(
        settings,
        name="mmgic/cleaned",
        table=f"{folder}/annotations",
        output=f"{folder}/cleaned",
        schema=schema.ANNOTATED_IMAGE,
        settings={
            "cleaning": asdict(settings.cleaning),
            "min_label_count": {source.name: source.min_label_count for source in sources_of(settings, "mmgic")},
        },
        make_transform=partial(_cleaning_transform, settings, f"{folder}/annotations"),
    )


def _cleaning_transform(settings: Settings, annotations: str) -> EachRow:
    """Counts labels over the whole table, then returns the cleaning of its rows (F.2)."""
    sources = {source.name: source for source in sources_of(settings, "mmgic")}
    cleaning, workers = settings.cleaning, settings.cluster.data_workers
    print("mmgic/cleaned: counting labels", flush=True)

    def labels_of(counts: CountsBySource) -> Mapping[str, KeptLabels]:
        return {name: kept_labels(counts.of(name), source, cleaning) for name, source in sources.items()}

    objects = fold(annotations, partial(objects_by_source, sources=sources, cleaning=cleaning), workers)
    labels = labels_of(objects)
    count = partial(predicates_by_source, labels=labels, sources=sources, cleaning=cleaning)
    labels = labels_of(objects + fold(annotations, count, workers))
    return EachRow(partial(clean_row, labels=labels, sources=sources, cleaning=cleaning))


def _regions(settings: Settings, folder: str, patches: int) -> Manifest:
    return stage(
        settings,
        name="mmgic/regions",
        table=f"{folder}/cleaned",
        output=f"{folder}/regions",
        schema=schema.IMAGE_WITH_REGIONS,
        settings={"regions": asdict(settings.regions), "patches": patches},
        make_transform=lambda: EachRow(partial(make_regions, settings=settings.regions, patches=patches)),
    )


def _documents(settings: Settings, folder: str, vocabulary: VLVocabulary, tokens: Manifest) -> list[Manifest]:
    """A table for each repeat (F.7: V3Det and Visual Genome 3), of the sources that are repeated that often."""
    sources = sources_of(settings, "mmgic")
    descriptions = list(file_digests([settings.descriptions]).values()) if settings.descriptions else []
    inputs = {**document_inputs(settings, vocabulary), "descriptions": descriptions}
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
