"""The tables that pass between stages: their columns, the reasons for what is left out, and who a record is."""

from typing import Literal, get_args

import pyarrow as pa

from mmgic.schema.arrow import arrow_schema
from mmgic.schema.columns import (
    AnnotatedImage,
    AnyRow,
    Attribute,
    Candidate,
    CaptionedImage,
    CaptionPhrases,
    Document,
    DocumentKey,
    Drop,
    ImageWithRegions,
    Interleaved,
    Key,
    Object,
    Part,
    Region,
    Relationship,
    RowImage,
    SetAside,
    TokenizedImage,
    TokenizedPair,
    Turns,
    UnfitDocument,
    Verdict,
)
from mmgic.schema.identity import record_generator, row_id
from mmgic.schema.reasons import DROPS, KEPT, REASONS, add_drops, count_drops, reject

KEY = tuple(arrow_schema(Key))
VERDICT = tuple(arrow_schema(Verdict))
ANNOTATED_IMAGE = arrow_schema(AnnotatedImage)
IMAGE_WITH_REGIONS = arrow_schema(ImageWithRegions)
TOKENIZED_IMAGE = arrow_schema(TokenizedImage)
CAPTIONED_IMAGE = arrow_schema(CaptionedImage)
PHRASES = arrow_schema(CaptionPhrases)
TOKENIZED_PAIR = arrow_schema(TokenizedPair)
INTERLEAVED = arrow_schema(Interleaved)
DOCUMENT = arrow_schema(Document)

# What a row of rounds is for: the rows of Table 16 and C.6; the task chooses the template.
TASKS = (
    "image_conversation",
    "open_vqa",
    "multiple_choice",
    "detailed_caption",
    "image_caption",
    "image_editing",
    "text_to_image",
    "text_only",
    "interleaved",  # an MMC4 document: one round, all of it response
    "pair",  # MMC4-pairs: an image and its sentence
)

# What is pre-processed in one way; instructions play back what the corpora before them hold.
Corpus = Literal["mmgic", "ic", "mmc4", "sft"]
CORPORA: tuple[Corpus, ...] = get_args(Corpus)

# The rows that the readers of each corpus yield
SCHEMAS: dict[Corpus, pa.Schema] = {
    "mmgic": ANNOTATED_IMAGE,
    "ic": CAPTIONED_IMAGE,
    "mmc4": INTERLEAVED,
    "sft": INTERLEAVED,
}

__all__ = [
    "ANNOTATED_IMAGE",
    "CAPTIONED_IMAGE",
    "CORPORA",
    "DOCUMENT",
    "DROPS",
    "IMAGE_WITH_REGIONS",
    "INTERLEAVED",
    "KEPT",
    "KEY",
    "PHRASES",
    "REASONS",
    "SCHEMAS",
    "TASKS",
    "TOKENIZED_IMAGE",
    "TOKENIZED_PAIR",
    "VERDICT",
    "AnnotatedImage",
    "AnyRow",
    "Attribute",
    "Candidate",
    "CaptionPhrases",
    "CaptionedImage",
    "Corpus",
    "Document",
    "DocumentKey",
    "Drop",
    "ImageWithRegions",
    "Interleaved",
    "Key",
    "Object",
    "Part",
    "Region",
    "Relationship",
    "RowImage",
    "SetAside",
    "TokenizedImage",
    "TokenizedPair",
    "Turns",
    "UnfitDocument",
    "Verdict",
    "add_drops",
    "arrow_schema",
    "count_drops",
    "record_generator",
    "reject",
    "row_id",
]
