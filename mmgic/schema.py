"""The Arrow schemas of the tables that pass between stages, and the row keys.

A stage reads the table before it and writes every row that it read, with `keep`, `reason` and `detail` saying what
became of it. Rows with `keep = false` are carried to the stage's own output and go no further.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import numpy as np
import pyarrow as pa

# ---------------------------------------------------------------- columns that every table has

KEY = [
    pa.field("row_id", pa.int64()),  # hash of source, id and repeat; what resuming and joining use
    pa.field("source", pa.string()),  # SourceSettings.name
    pa.field("image_id", pa.string()),  # the dataset's own id, always text
]
VERDICT = [
    pa.field("keep", pa.bool_()),
    pa.field("reason", pa.string()),  # "" or one of REASONS
    pa.field("detail", pa.string()),  # what exactly was wrong, for a person
]

# Why a whole row was set aside. A stage uses only reasons of this list.
REASONS = (
    "bad_record",  # the annotation record lacks what the format demands
    "duplicate_id",  # the source lists this image twice; the first one stays
    "duplicate_record",  # a source listed before has the same conversation, or the same image by its url
    "image_missing",
    "image_undecodable",
    "image_too_large",
    "size_mismatch",  # decoded size differs from the annotated size
    "short_side",
    "aspect_ratio",
    "no_objects",
    "heldout_split",  # belongs to a benchmark's test split (F.2 step 7)
    "validation_split",
    "too_long",  # no form of the document fits (F.7 step 4)
    "no_visual_tokens",
    "no_caption",  # the record has no text to go with its image
    "phrases_not_selected",  # no noun phrase drew this caption (G.2)
    "not_sampled",  # left out of a sample of fixed size (H.1)
    "download_failed",  # an answer, but no image: HTTP 404 and the like
    "host_unreachable",  # no answer: no such host, no connection, silence
    "download_refused",  # a private address, an opt-out of the site, or not http(s)
    "stage_error",
)

# Why objects, attributes or relationships inside a kept row were dropped; counted in the row's `drops`.
DROPS = (
    "object_bad_box",
    "object_outside_image",
    "object_label_unknown",
    "object_label_rare",
    "object_many_synsets",
    "object_duplicate",
    "object_crowd",
    "object_no_name",
    "object_group",  # one box around many instances, where the settings leave those out
    "object_depiction",
    "object_label_invalid",  # no reasonable label (F.2 step 8)
    "attribute_label_invalid",
    "relationship_label_invalid",
    "attribute_label_unknown",
    "attribute_unpaired",  # no BigDetection box pairs with its object (F.1)
    "relationship_unpaired",
    "attribute_object_removed",
    "attribute_rare",
    "attribute_empty",
    "relationship_object_removed",
    "relationship_rare",
    "relationship_empty",
    "region_too_small",
    "region_too_large",
    "region_duplicate",
    "region_no_visual_tokens",
    "question_unanswered",
    "round_malformed",
    "round_too_long",
    "part_cut",  # beyond the length that a document may have
    "image_failed",  # one of a document's images
    "image_unmatched",  # no sentence of the document belongs to it
    "sentence_empty",
    "caption_not_merged",  # the language model gave no usable merged caption; the short one took its place (G.3)
    "caption_request_failed",  # the same, as the request for it failed twice
)

# ---------------------------------------------------------------- annotated images: sources, cleaning

OBJECT = pa.struct(
    [
        pa.field("object_id", pa.string()),
        pa.field("label", pa.string()),
        pa.field("synset", pa.string()),  # "" for none; several, before cleaning, joined by blanks
        pa.field("x", pa.float64()),  # box in pixels of the original image, origin top left
        pa.field("y", pa.float64()),
        pa.field("w", pa.float64()),
        pa.field("h", pa.float64()),
    ]
)
ATTRIBUTE = pa.struct([pa.field("object_id", pa.string()), pa.field("label", pa.string())])
RELATIONSHIP = pa.struct(
    [pa.field("subject_id", pa.string()), pa.field("label", pa.string()), pa.field("object_id", pa.string())]
)
DROP = pa.struct([pa.field("reason", pa.string()), pa.field("count", pa.int64())])

CANDIDATE = pa.struct(
    [
        pa.field("caption", pa.string()),
        pa.field("score", pa.float32()),  # CLIP's cosine of image and caption
        pa.field("round", pa.int32()),  # of F.4, from 0
    ]
)

_IMAGE = [
    pa.field("image_path", pa.string()),  # as `mmgic.images.read_image` takes it
    pa.field("width", pa.int32()),
    pa.field("height", pa.int32()),
    pa.field("caption", pa.string()),  # "" where there is none
    pa.field("narrative", pa.string()),  # localized narrative, "" where there is none
    pa.field("candidates", pa.list_(CANDIDATE)),  # synthesized captions, best first; empty where one was given
]
_ANNOTATIONS = [
    pa.field("objects", pa.list_(OBJECT)),
    pa.field("attributes", pa.list_(ATTRIBUTE)),
    pa.field("relationships", pa.list_(RELATIONSHIP)),
]
_DROPS = [pa.field("drops", pa.list_(DROP))]

ANNOTATED_IMAGE = pa.schema([*KEY, *_IMAGE, *_ANNOTATIONS, *_DROPS, *VERDICT])

# ---------------------------------------------------------------- regions and visual tokens

REGION = pa.struct(
    [
        pa.field("x", pa.float64()),  # the square, as fractions of the frame: left edge,
        pa.field("y", pa.float64()),  # top edge
        pa.field("side", pa.float64()),  # and side
        pa.field("location", pa.string()),  # one of the nine names of F.7
        pa.field("labels", pa.list_(pa.string())),  # of the objects in the square, own object first
        pa.field("codes", pa.list_(pa.int32())),  # visual codes; empty before the tokenize stage
    ]
)
_REGIONS = [pa.field("regions", pa.list_(REGION))]
_CODES = [pa.field("codes", pa.list_(pa.int32()))]  # the whole image's visual codes

IMAGE_WITH_REGIONS = pa.schema([*KEY, *_IMAGE, *_ANNOTATIONS, *_REGIONS, *_DROPS, *VERDICT])
TOKENIZED_IMAGE = pa.schema([*KEY, *_IMAGE, *_ANNOTATIONS, *_REGIONS, *_CODES, *_DROPS, *VERDICT])

# ---------------------------------------------------------------- image-caption pairs (G)

_PAIR = [
    pa.field("url", pa.string()),  # "" where the image is at hand
    pa.field("image_path", pa.string()),  # "" before the download
    pa.field("width", pa.int32()),  # 0 where not known yet
    pa.field("height", pa.int32()),
    pa.field("caption_origin", pa.string()),  # from the web
    pa.field("caption_coco", pa.string()),  # short, synthesized
    pa.field("caption_capsfusion", pa.string()),  # detailed: both of these in one
    pa.field("candidates", pa.list_(CANDIDATE)),
]

CAPTIONED_IMAGE = pa.schema([*KEY, *_PAIR, *_DROPS, *VERDICT])
TOKENIZED_PAIR = pa.schema([*KEY, *_PAIR, *_CODES, *_DROPS, *VERDICT])

# ---------------------------------------------------------------- instruction rounds (H), interleaved documents (C.6)

PART = pa.struct(
    [
        pa.field("text", pa.string()),
        pa.field("image", pa.int32()),  # position in the row's `images`; -1: the part is `text`
    ]
)
ROUND = pa.struct([pa.field("instruction", pa.list_(PART)), pa.field("response", pa.list_(PART))])
ROW_IMAGE = pa.struct(
    [
        pa.field("url", pa.string()),  # "" where the image is at hand
        pa.field("image_path", pa.string()),  # "" before the download
        pa.field("codes", pa.list_(pa.int32())),  # visual codes; empty before the tokenize stage
    ]
)

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

INTERLEAVED = pa.schema(
    [
        *KEY,  # `image_id` is the record's own id
        pa.field("task", pa.string()),
        pa.field("images", pa.list_(ROW_IMAGE)),
        pa.field("rounds", pa.list_(ROUND)),  # raw instructions and answers, without any template's words
        *_DROPS,
        *VERDICT,
    ]
)

# ---------------------------------------------------------------- corpora

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

# ---------------------------------------------------------------- documents

DOCUMENT = pa.schema(
    [
        *KEY,
        pa.field("repeat", pa.int32()),
        pa.field("corpus", pa.string()),  # the name a curriculum calls it by: mmgic, ic, mmc4, sft
        pa.field("template", pa.string()),  # image_first, text_first or one of TASKS
        pa.field("with_descriptions", pa.bool_()),
        pa.field("text", pa.string()),  # the filled template; [IMG] stands for each image's tokens
        pa.field("input_ids", pa.list_(pa.int32())),
        pa.field(
            "answer_spans", pa.list_(pa.list_(pa.int32(), 2))
        ),  # [start, end) that alone are supervised; empty: all
        pa.field("num_visual_tokens", pa.int32()),  # codes, without [IMG] and [/IMG]
        pa.field("num_text_tokens", pa.int32()),  # everything else
        pa.field("num_regions", pa.int32()),  # regions that fitted
        *_DROPS,
        *VERDICT,
    ]
)


def row_id(source: str, record_id: str, repeat: int = 0) -> int:
    """A stable signed 64-bit id of a record. Collisions are checked by the stage that first makes the ids."""
    text = f"{source}\x1f{record_id}\x1f{repeat}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little", signed=True)


def record_generator(seed: int, stage: str, source: str, record_id: str, repeat: int = 0) -> np.random.Generator:
    """The generator that all randomness of one record in one stage comes from (design: determinism by identity)."""
    text = f"{seed}\x1f{stage}\x1f{source}\x1f{record_id}\x1f{repeat}".encode()
    return np.random.Generator(
        np.random.PCG64(int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little"))
    )


def reject(reason: str, detail: str = "") -> dict[str, object]:
    """The verdict columns of a row that is set aside."""
    if reason not in REASONS:
        raise ValueError(f"{reason!r} is not in mmgic.schema.REASONS")
    return {"keep": False, "reason": reason, "detail": detail}


KEPT: dict[str, object] = {"keep": True, "reason": "", "detail": ""}


def count_drops(reasons: Sequence[str]) -> list[dict[str, object]]:
    """`reasons` as the sorted counts that a row's `drops` column holds."""
    return [{"reason": r, "count": reasons.count(r)} for r in sorted(set(reasons))]


def add_drops(drops: Sequence[Mapping[str, object]], reasons: Sequence[str]) -> list[dict[str, object]]:
    """A row's `drops` with `reasons` counted on top."""
    before = [str(drop["reason"]) for drop in drops for _ in range(int(str(drop["count"])))]
    return count_drops([*before, *reasons])
