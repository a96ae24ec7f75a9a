"""Appendix G: annotations, unique, phrases, selected, sampled, images, captions, merged, tokens, documents.

Tables lie under `<output>/ic`. Records are chosen before images are fetched, so what is not needed is not asked for.
"""

from __future__ import annotations

from mmgic import schema
from mmgic.documents.pairs import MakePair
from mmgic.model.vocabulary import VLVocabulary
from mmgic.pipelines.annotations import read_annotations
from mmgic.pipelines.captions import run_captions
from mmgic.pipelines.common import each_once
from mmgic.pipelines.documents import run_documents
from mmgic.pipelines.images import run_images
from mmgic.pipelines.merge import run_merge
from mmgic.pipelines.phrases import select_by_phrases
from mmgic.pipelines.sample import run_sample
from mmgic.pipelines.tokens import run_tokens
from mmgic.pipelines.unique import run_unique
from mmgic.settings import Settings
from mmgic.stages.tables import Table


def build_ic(settings: Settings, vocabulary: VLVocabulary) -> list[Table]:
    """Runs the stages of the image-caption sources and returns their tables, that of documents last.

    Sources are filtered by the captions that came with them; then captions are synthesized and merged (4.2, G.3).
    """
    annotations = read_annotations(settings, "ic")
    unique = run_unique(settings, annotations)
    selected = select_by_phrases(settings, unique)
    sampled = run_sample(settings, "ic", selected, schema.CAPTIONED_IMAGE)
    images = run_images(settings, "ic", sampled, schema.CAPTIONED_IMAGE)
    captions = run_captions(settings, "ic", images, schema.CAPTIONED_IMAGE)
    merged = run_merge(settings, captions)
    tokens = run_tokens(settings, "ic", merged, schema.TOKENIZED_PAIR)
    documents = run_documents(settings, "ic", vocabulary, tokens, MakePair)
    return each_once(annotations, unique, selected, sampled, images, captions, merged, tokens, documents)
