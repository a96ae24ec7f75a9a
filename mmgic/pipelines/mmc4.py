"""MMC4 and MMC4-pairs: annotations -> images -> tokens -> documents (C.6). Tables lie under `<output>/mmc4`."""

from __future__ import annotations

from functools import partial

from mmgic import schema
from mmgic.documents.rounds import MakeRounds
from mmgic.model.vocabulary import VLVocabulary
from mmgic.pipelines.common import (
    corpus_folder,
    document_inputs,
    read_annotations,
    run_tokens,
    sources_of,
    stage,
    table_of,
)
from mmgic.pipelines.images import run_images
from mmgic.settings import Settings
from mmgic.tables import Manifest
from mmgic.transform import EachRow


def build_mmc4(settings: Settings, vocabulary: VLVocabulary) -> list[Manifest]:
    """Runs the stages of the MMC4 sources and returns their manifests; the documents' table is the last one."""
    annotations = read_annotations(settings, "mmc4")
    images = run_images(settings, "mmc4", table_of(settings, annotations), schema.INTERLEAVED)
    tokens = run_tokens(settings, "mmc4", table_of(settings, images), schema.INTERLEAVED)
    corpora = {source.name: source.corpus or "mmc4" for source in sources_of(settings, "mmc4")}
    make = MakeRounds(settings.model.llm, vocabulary, settings.documents, corpora, settings.seed)
    documents = stage(
        settings,
        name="mmc4/documents",
        table=table_of(settings, tokens),
        output=f"{corpus_folder(settings, 'mmc4')}/documents",
        schema=schema.DOCUMENT,
        settings={**document_inputs(settings, vocabulary), "corpora": corpora},
        make_transform=partial(EachRow, make, repeat=0),
    )
    return [annotations, images, tokens, documents]
