"""The documents stages: tables of visual codes and texts become token ids (F.6, F.7, G.3, C.6, H.2)."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any

from mmgic.documents.encode import check_text_tokenizer
from mmgic.documents.folders import documents_folder
from mmgic.documents.interleaved import MakeInterleaved
from mmgic.documents.multi_grained import MakeDocument
from mmgic.documents.pairs import MakePair
from mmgic.documents.rounds import MakeRounds
from mmgic.documents.writing import DocumentMaker
from mmgic.files import file_digests
from mmgic.model.text_tokenizer import load_text_tokenizer, text_tokenizer_files
from mmgic.model.vocabulary import VLVocabulary
from mmgic.pipelines.common import data_resources, sources_of
from mmgic.pipelines.places import places_of
from mmgic.schema import DOCUMENT, Corpus
from mmgic.settings import Settings
from mmgic.stages.rows import EachRow
from mmgic.stages.run import run_stage
from mmgic.stages.stage import Stage
from mmgic.stages.tables import Table


def document_inputs(settings: Settings, vocabulary: VLVocabulary, make: type[DocumentMaker[Any]]) -> dict[str, Any]:
    """What the documents of `make` depend on. Raises InputError if the text tokenizer is unusable."""
    check_text_tokenizer(load_text_tokenizer(settings.model.llm), vocabulary.text_size)
    return {
        "documents": {name: value for name, value in asdict(settings.documents).items() if name in make.used},
        "tokenizer": list(file_digests(map(str, text_tokenizer_files(settings.model.llm))).values()),
        "vocabulary": asdict(vocabulary),
        "seed": settings.seed,
    }


def description_inputs(settings: Settings) -> dict[str, list[str]]:
    """The file of label descriptions, by its digest."""
    return {"descriptions": list(file_digests([settings.descriptions]).values()) if settings.descriptions else []}


def run_documents(
    settings: Settings,
    corpus: Corpus,
    vocabulary: VLVocabulary,
    table: Table,
    make: type[MakePair] | type[MakeRounds] | type[MakeInterleaved],
) -> Table:
    """Makes `<corpus>/documents` of image-caption pairs, interleaved documents or instruction rounds."""
    corpora = {source.name: source.corpus or corpus for source in sources_of(settings, corpus)}
    stage = Stage(
        documents_folder(f"{corpus}/documents", settings.documents),
        DOCUMENT,
        partial(EachRow, make.of(settings, vocabulary, corpora=corpora), repeat=0),
        settings={**document_inputs(settings, vocabulary, make), "corpora": corpora},
        resources=data_resources(settings),
    )
    return run_stage(stage, table, places_of(settings))


def run_multi_grained_documents(settings: Settings, vocabulary: VLVocabulary, table: Table) -> list[Table]:
    """Makes `mmgic/documents/RECIPE/repeat_k` for each repeat (F.7: V3Det and Visual Genome 3).

    Each reads the sources that are repeated that often.
    """
    sources = sources_of(settings, "mmgic")
    inputs = {**document_inputs(settings, vocabulary, MakeDocument), **description_inputs(settings)}
    folder = documents_folder("mmgic/documents", settings.documents, of_recipe=True)
    documents = []
    for repeat in range(max(source.repeats for source in sources)):
        repeated = [source.name for source in sources if source.repeats > repeat]
        kept = tuple(name for name in repeated if table.manifest.sources.get(name, {}).get("kept"))
        if not kept:
            continue
        make = MakeDocument.of(settings, vocabulary, descriptions=settings.descriptions, repeat=repeat)
        stage = Stage(
            f"{folder}/repeat_{repeat}",
            DOCUMENT,
            partial(EachRow, make, repeat=repeat),
            settings={**inputs, "repeat": repeat},
            sources=kept,
            resources=data_resources(settings),
        )
        documents.append(run_stage(stage, table, places_of(settings)))
    return documents
