"""What the pipelines of all corpora share: the first table, the tokens stage, and how settings become stages."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from typing import Any

import pyarrow as pa

from mmgic import schema
from mmgic.documents.pairs import MakePair
from mmgic.documents.rounds import MakeRounds
from mmgic.files import absolute, file_digest, find_files
from mmgic.model.vocabulary import VLVocabulary
from mmgic.schema import Corpus
from mmgic.settings import Settings, SettingsError, SourceSettings
from mmgic.sources.formats import FORMATS, read_source
from mmgic.sources.reading.files import annotation_files
from mmgic.stages.ingest import ingest
from mmgic.stages.rows import EachRow
from mmgic.stages.run import run_stage
from mmgic.stages.stage import Stage
from mmgic.stages.tables import Manifest

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json")


def sources_of(settings: Settings, corpus: Corpus) -> tuple[SourceSettings, ...]:
    """The sources whose format belongs to `corpus`."""
    return tuple(source for source in settings.sources if FORMATS[source.format].corpus == corpus)


def corpus_folder(settings: Settings, corpus: Corpus) -> str:
    """Where the tables of a corpus lie."""
    return f"{absolute(settings.output)}/{corpus}"


def table_of(settings: Settings, manifest: Manifest) -> str:
    """The folder of the table that a stage of these settings made."""
    return f"{absolute(settings.output)}/{manifest.stage}"


def stages_run(*manifests: Manifest) -> list[Manifest]:
    """`manifests` once each: a stage that was left out has that of the stage before it."""
    return list({manifest.stage: manifest for manifest in manifests}.values())


def check_sources(sources: Iterable[SourceSettings]) -> None:
    """Raises SettingsError where there are no sources, or where two have one name."""
    names = [source.name for source in sources]
    if not names:
        raise SettingsError("there are no 'sources'; add one, such as {name: coco, format: coco, path: data/coco, ...}")
    for name in names:
        if not name or names.count(name) > 1:
            raise SettingsError(f"{names.count(name)} of the 'sources' are named '{name}'; give each its own name")


def stage(settings: Settings, /, **fields: Any) -> Manifest:
    """Runs a `Stage` of these `fields`, with the cluster's settings for those that are not given."""
    cluster = settings.cluster
    shared = {
        "workers": cluster.data_workers,
        "prepare_workers": cluster.data_workers,
        "rows_per_block": cluster.rows_per_block,
        "max_error_rate": cluster.max_error_rate,
    }
    return run_stage(Stage(**{**shared, **fields}))


def read_annotations(settings: Settings, corpus: Corpus) -> Manifest:
    """Makes the first table of a corpus from all its sources."""
    # how often a source's labels and images count, and what describes them, matters to later stages alone
    later = ("min_label_count", "repeats", "corpus", "description_field")
    sources = sources_of(settings, corpus)
    described = [
        {**{k: v for k, v in asdict(source).items() if k not in later}, "files": file_digests(annotation_files(source))}
        for source in sources
    ]
    return ingest(
        f"{corpus}/annotations",
        f"{corpus_folder(settings, corpus)}/annotations",
        schema.SCHEMAS[corpus],
        [partial(read_source, source) for source in sources],
        {"sources": described},
        rows_per_file=settings.cluster.rows_per_block,
        max_error_rate=settings.cluster.max_error_rate,
    )


def file_digests(patterns: Iterable[str]) -> dict[str, str]:
    """Path -> SHA-256 of the files that are there."""
    return {path: file_digest(path) for pattern in patterns for path in find_files(pattern)}


def run_tokens(settings: Settings, corpus: Corpus, table: str, schema: pa.Schema) -> Manifest:
    """The tokens stage of any corpus: images and regions become visual codes (F.6)."""
    from mmgic.vision.folders import load_config, tokenizer_files
    from mmgic.vision.tokenize import TokenizeImages, load_frames

    vision, cluster = settings.vision, settings.cluster
    return stage(
        settings,
        name=f"{corpus}/tokens",
        table=table,
        output=f"{corpus_folder(settings, corpus)}/tokens",
        schema=schema,
        settings={
            "selection": vision.selection,
            "dtype": vision.dtype,
            # products of another height, or in another order, may round in another way
            "batch_size": vision.batch_size,
            "compile": vision.compile,
            "checkpoint": [file_digest(str(path)) for path in tokenizer_files(vision.checkpoint)],
            "seed": settings.seed,
        },
        prepare=partial(load_frames, size=load_config(vision.checkpoint).image_size),
        make_transform=partial(TokenizeImages, vision.checkpoint, vision, settings.seed),
        actors=True,
        workers=cluster.tokenizer_workers,
        gpus=cluster.tokenizer_gpus,
        rows_per_call=vision.batch_size,  # the frames of a call fill whole batches, but for the last
    )


def document_inputs(settings: Settings, vocabulary: VLVocabulary) -> dict[str, Any]:
    """What the documents of every corpus depend on."""
    tokenizer = [posixpath.join(settings.model.llm, name) for name in TOKENIZER_FILES]
    return {
        "documents": asdict(settings.documents),
        "tokenizer": list(file_digests(tokenizer).values()),
        "vocabulary": asdict(vocabulary),
        "seed": settings.seed,
    }


def run_documents(
    settings: Settings,
    corpus: Corpus,
    vocabulary: VLVocabulary,
    table: str,
    make: type[MakePair] | type[MakeRounds],
) -> Manifest:
    """The documents stage of image-caption pairs, interleaved documents and instruction rounds."""
    corpora = {source.name: source.corpus or corpus for source in sources_of(settings, corpus)}
    return stage(
        settings,
        name=f"{corpus}/documents",
        table=table,
        output=f"{corpus_folder(settings, corpus)}/documents",
        schema=schema.DOCUMENT,
        settings={**document_inputs(settings, vocabulary), "corpora": corpora},
        make_transform=partial(
            EachRow, make(settings.model.llm, vocabulary, settings.documents, corpora, settings.seed), repeat=0
        ),
    )
