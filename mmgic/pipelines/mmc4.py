"""MMC4 and MMC4-pairs: annotations -> images -> tokens -> documents (C.6). Tables lie under `<output>/mmc4`."""

from __future__ import annotations

from mmgic import schema
from mmgic.documents.rounds import MakeRounds
from mmgic.model.vocabulary import VLVocabulary
from mmgic.pipelines.common import read_annotations, run_documents, run_tokens, table_of
from mmgic.pipelines.images import run_images
from mmgic.settings import Settings
from mmgic.stages.tables import Manifest


def build_mmc4(settings: Settings, vocabulary: VLVocabulary) -> list[Manifest]:
    """Runs the stages of the MMC4 sources and returns their manifests; the documents' table is the last one."""
    annotations = read_annotations(settings, "mmc4")
    images = run_images(settings, "mmc4", table_of(settings, annotations), schema.INTERLEAVED)
    tokens = run_tokens(settings, "mmc4", table_of(settings, images), schema.INTERLEAVED)
    documents = run_documents(settings, "mmc4", vocabulary, table_of(settings, tokens), MakeRounds)
    return [annotations, images, tokens, documents]
