"""The Arrow schemas of the tables that pass between stages, and the row keys.

A stage reads the table before it and writes every row that it read, with `keep`, `reason` and `detail` saying what
became of it. Rows with `keep = false` are carried to the stage's own output and go no further.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

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

_IMAGE = [
    pa.field("image_path", pa.string()),
    pa.field("width", pa.int32()),
    pa.field("height", pa.int32()),
    pa.field("caption", pa.string()),  # "" where there is none
    pa.field("narrative", pa.string()),  # localized narrative, "" where there is none
    pa.field("questions", pa.list_(pa.struct([pa.field("question", pa.string()), pa.field("answer", pa.string())]))),
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

# ---------------------------------------------------------------- documents

DOCUMENT = pa.schema(
    [
        *KEY,
        pa.field("repeat", pa.int32()),
        pa.field("corpus", pa.string()),  # the name a curriculum calls it by: mmgic, ic, vqa
        pa.field("template", pa.string()),  # image_first, text_first or question
        pa.field("with_descriptions", pa.bool_()),
        pa.field("text", pa.string()),  # the filled template; [IMG] stands for each image's tokens
        pa.field("input_ids", pa.list_(pa.int32())),
        pa.field(
            "answer_spans", pa.list_(pa.list_(pa.int32(), 2))
        ),  # [start, end) that alone are supervised; empty: all
        pa.field("num_visual_tokens", pa.int32()),  # codes, without [IMG] and [/IMG]
        pa.field("num_text_tokens", pa.int32()),  # everything else
        pa.field("num_regions", pa.int32()),  # regions that fitted
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
