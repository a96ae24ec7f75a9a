"""MMC4 and MMC4-pairs (C.6): annotations -> sampled -> images -> tokens -> documents. Tables are in `<output>/mmc4`."""

from __future__ import annotations

from mmgic import schema
from mmgic.documents.interleaved import MakeInterleaved
from mmgic.model.vocabulary import VLVocabulary
from mmgic.pipelines.annotations import read_annotations
from mmgic.pipelines.common import each_once
from mmgic.pipelines.documents import run_documents
from mmgic.pipelines.images import run_images
from mmgic.pipelines.sample import run_sample
from mmgic.pipelines.tokens import run_tokens
from mmgic.settings import Settings
from mmgic.stages.tables import Table


def build_mmc4(settings: Settings, vocabulary: VLVocabulary) -> list[Table]:
    """Runs the stages of the MMC4 sources and returns their tables, that of documents last."""
    annotations = read_annotations(settings, "mmc4")
    sampled = run_sample(settings, "mmc4", annotations, schema.INTERLEAVED)
    images = run_images(settings, "mmc4", sampled, schema.INTERLEAVED)
    tokens = run_tokens(settings, "mmc4", images, schema.INTERLEAVED)
    documents = run_documents(settings, "mmc4", vocabulary, tokens, MakeInterleaved)
    return each_once(annotations, sampled, images, tokens, documents)
