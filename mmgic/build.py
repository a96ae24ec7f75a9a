"""The data stages in their order: annotations -> cleaned -> regions -> tokens -> documents/repeat_k -> store.

Each writes a folder under `settings.output`, beside the settings that its rows depend on. Files that a stage reads from
outside are among these by their digests; image files are not, for they are many and large.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mmgic import schema, tables
from mmgic.cleaning import KeptLabels, kept_labels
from mmgic.documents.transform import MakeDocument
from mmgic.model.vl_llama import load_llama_config
from mmgic.model.vocabulary import VLVocabulary
from mmgic.regions import make_regions
from mmgic.settings import Settings, SettingsError, SourceSettings, to_yaml
from mmgic.sources import read_source
from mmgic.stage import Stage, fold, ingest, run_stage
from mmgic.steps import CountsBySource, clean_row, objects_by_source, predicates_by_source
from mmgic.tables import Manifest
from mmgic.training.store import StoreManifest, build_store
from mmgic.transform import EachRow
from mmgic.vision import VisionConfig
from mmgic.vision.checkpoint import LAVIT_FILES, load_config
from mmgic.vision.tokenize import TokenizeImages

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json")


@dataclass(frozen=True)
class BuildReport:
    """What became of the sources' images, stage by stage, and the token store that training reads."""

    stages: tuple[Manifest, ...]
    store: StoreManifest
    store_folder: Path


def build(settings: Settings) -> BuildReport:
    """Builds everything that training reads. What is finished is left as it is; what was cut short goes on.

    Needs Ray, and prints a line of counts per stage. Raises SettingsError or InputError for settings, files or tables
    that cannot be used.
    """
    _check_sources(settings.sources)
    output = tables.absolute(settings.output)
    vision = _vision_config(settings.vision.checkpoint)
    vocabulary = VLVocabulary(load_llama_config(settings.model.llm).vocab_size, vision.codebook_size)
    tables.write_text(f"{output}/settings.yaml", to_yaml(settings))

    annotations = _annotations(settings, output)
    cleaned = _cleaned(settings, output)
    regions = _regions(settings, output, vision.image_size // vision.patch_size)
    tokens = _tokens(settings, output)
    documents = _documents(settings, output, vocabulary, tokens)

    store_folder = Path(settings.output) / "store"
    tables_of_documents = [f"{output}/documents/repeat_{repeat}" for repeat in range(len(documents))]
    store = build_store(tables_of_documents, store_folder, vocabulary.size)
    print(f"store: {store.samples:,} documents of {store.tokens:,} tokens in {store_folder}", flush=True)
    return BuildReport((annotations, cleaned, regions, tokens, *documents), store, store_folder)


def _check_sources(sources: Iterable[SourceSettings]) -> None:
    names = [source.name for source in sources]
    if not names:
        raise SettingsError("there are no 'sources'; add one, such as {name: coco, format: coco, path: data/coco, ...}")
    for name in names:
        if not name or names.count(name) > 1:
            raise SettingsError(f"{names.count(name)} of the 'sources' are named '{name}'; give each its own name")


def _vision_config(checkpoint: str) -> VisionConfig:
    """The sizes of a visual tokenizer; LaVIT's released folder holds no config file and has the default ones."""
    released = all((Path(checkpoint) / name).is_file() for name in LAVIT_FILES)
    return VisionConfig() if released else load_config(checkpoint)


def _stage(settings: Settings, /, **fields: Any) -> Manifest:
    cluster = settings.cluster
    shared = {"rows_per_block": cluster.rows_per_block, "max_error_rate": cluster.max_error_rate}
    return run_stage(Stage(**{"workers": cluster.data_workers, **shared, **fields}))


def _annotations(settings: Settings, output: str) -> Manifest:
    # how often a source's labels and images count matters to later stages alone
    later = ("min_label_count", "repeats")
    described = [
        {**{k: v for k, v in asdict(source).items() if k not in later}, "files": _file_digests(_files(source))}
        for source in settings.sources
    ]
    return ingest(
        "annotations",
        f"{output}/annotations",
        schema.ANNOTATED_IMAGE,
        [partial(read_source, source) for source in settings.sources],
        {"sources": described},
        rows_per_file=settings.cluster.rows_per_block,
        max_error_rate=settings.cluster.max_error_rate,
    )


def _files(source: SourceSettings) -> list[str]:
    """The annotation files of a source that may be there; its reader says which of them must be."""
    names = [source.annotations, source.captions, source.answers]
    if source.format == "visual_genome":
        names += ["image_data.json", "objects.json", "attributes.json", "relationships.json"]
    inside = [posixpath.join(source.path, name) for name in names if name]
    flickr30k = [posixpath.join(source.flickr30k, "*.txt")] if source.flickr30k else []
    return [*inside, *flickr30k, *([source.karpathy] if source.karpathy else [])]


def _file_digests(patterns: Iterable[str]) -> dict[str, str]:
    """Path -> SHA-256 of the files that are there."""
    return {path: tables.file_digest(path) for pattern in patterns for path in tables.find_files(pattern)}


def _cleaned(settings: Settings, output: str) -> Manifest:
    return _stage(
        settings,
        name="cleaned",
        table=f"{output}/annotations",
        output=f"{output}/cleaned",
        schema=schema.ANNOTATED_IMAGE,
        settings={
            "cleaning": asdict(settings.cleaning),
            "min_label_count": {source.name: source.min_label_count for source in settings.sources},
        },
        make_transform=partial(_cleaning_transform, settings, f"{output}/annotations"),
    )


def _cleaning_transform(settings: Settings, annotations: str) -> EachRow:
    """Counts labels over the whole table, then returns the cleaning of its rows (F.2)."""
    sources = {source.name: source for source in settings.sources}
    cleaning, workers = settings.cleaning, settings.cluster.data_workers
    print("cleaned: counting labels", flush=True)

    def labels_of(counts: CountsBySource) -> Mapping[str, KeptLabels]:
        return {name: kept_labels(counts.of(name), source, cleaning) for name, source in sources.items()}

    objects = fold(annotations, partial(objects_by_source, sources=sources, cleaning=cleaning), workers)
    labels = labels_of(objects)
    count = partial(predicates_by_source, labels=labels, sources=sources, cleaning=cleaning)
    labels = labels_of(objects + fold(annotations, count, workers))
    return EachRow(partial(clean_row, labels=labels, sources=sources, cleaning=cleaning))


def _regions(settings: Settings, output: str, patches: int) -> Manifest:
    return _stage(
        settings,
        name="regions",
        table=f"{output}/cleaned",
        output=f"{output}/regions",
        schema=schema.IMAGE_WITH_REGIONS,
        settings={"regions": asdict(settings.regions), "patches": patches},
        make_transform=lambda: EachRow(partial(make_regions, settings=settings.regions, patches=patches)),
    )


def _tokens(settings: Settings, output: str) -> Manifest:
    vision, cluster = settings.vision, settings.cluster
    weights = [posixpath.join(vision.checkpoint, name) for name in ("config.json", "model.safetensors", *LAVIT_FILES)]
    return _stage(
        settings,
        name="tokens",
        table=f"{output}/regions",
        output=f"{output}/tokens",
        schema=schema.TOKENIZED_IMAGE,
        settings={
            "selection": vision.selection,
            "dtype": vision.dtype,
            "checkpoint": list(_file_digests(weights).values()),
            "seed": settings.seed,
        },
        make_transform=partial(TokenizeImages, vision.checkpoint, vision, settings.seed),
        actors=True,
        workers=cluster.tokenizer_workers,
        gpus=cluster.tokenizer_gpus,
        rows_per_call=16,
    )


def _documents(settings: Settings, output: str, vocabulary: VLVocabulary, tokens: Manifest) -> list[Manifest]:
    """A table for each repeat (F.7: V3Det and Visual Genome 3), of the sources that are repeated that often."""
    questions = [source.name for source in settings.sources if source.format == "vqav2"]
    tokenizer = [posixpath.join(settings.model.llm, name) for name in TOKENIZER_FILES]
    inputs = {
        "documents": asdict(settings.documents),
        "descriptions": list(_file_digests([settings.descriptions]).values()) if settings.descriptions else [],
        "tokenizer": list(_file_digests(tokenizer).values()),
        "vocabulary": asdict(vocabulary),
        "question_sources": questions,
        "seed": settings.seed,
    }
    manifests = []
    for repeat in range(max(source.repeats for source in settings.sources)):
        repeated = [source.name for source in settings.sources if source.repeats > repeat]
        kept = tuple(name for name in repeated if tokens.sources.get(name, {}).get("kept"))
        make = MakeDocument(
            settings.model.llm,
            settings.descriptions,
            vocabulary,
            settings.documents,
            frozenset(questions),
            settings.seed,
            repeat,
        )
        manifests += (
            [
                _stage(
                    settings,
                    name=f"documents/repeat_{repeat}",
                    table=f"{output}/tokens",
                    output=f"{output}/documents/repeat_{repeat}",
                    schema=schema.DOCUMENT,
                    settings={**inputs, "repeat": repeat},
                    make_transform=partial(EachRow, make, repeat=repeat),
                    sources=kept,
                )
            ]
            if kept
            else []
        )
    return manifests
