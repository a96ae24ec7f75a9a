"""Why rows are set aside, and why parts of kept rows are dropped."""

from __future__ import annotations

from collections.abc import Sequence

from mmgic.schema.columns import Drop, Verdict

# Why a whole row was set aside. A stage uses only reasons of this list.
REASONS = (
    "bad_record",  # the annotation record lacks what the format demands
    "duplicate_id",  # the source lists this image twice; the first one stays
    "duplicate_record",  # a source listed before has the same conversation, or the same image by its url
    "other_dataset",  # a record of another dataset in a file that several share
    "image_missing",
    "image_undecodable",
    "image_too_large",
    "size_mismatch",  # decoded size differs from the annotated size
    "short_side",
    "aspect_ratio",
    "no_objects",
    "no_regions",  # no square around an object is of an allowed size (F.3)
    "heldout_split",  # belongs to a benchmark's test split (F.2 step 7)
    "validation_split",
    "too_long",  # no form of the document fits (F.7 step 4)
    "no_visual_tokens",
    "no_caption",  # the record has no text to go with its image
    "phrases_not_selected",  # no noun phrase drew this caption (G.2)
    "image_dissimilar",  # the image, or each of a page's, is too little like its sentence (C.6)
    "not_sampled",  # left out of a sample (Table 14, H.1), or of the pages with one image (C.6)
    "other_task",  # a record of a mixture whose task the source's `tasks` leave out
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
    "region_not_drawn",  # beyond the number of regions that an image may have
    "region_no_visual_tokens",
    "question_unanswered",
    "round_malformed",
    "round_too_long",
    "part_cut",  # beyond the length that a document may have
    "image_failed",  # one of a document's images
    "image_unmatched",  # no sentence of the document belongs to it
    "image_dissimilar",  # it is too little like the sentence that belongs to it (C.6)
    "image_not_drawn",  # beyond the number of images that a web page may have (C.6)
    "sentence_empty",
    "caption_not_merged",  # the language model gave no usable merged caption; the short one took its place (G.3)
    "caption_request_failed",  # the same, as the request for it failed twice
)


def reject(reason: str, detail: str = "") -> Verdict:
    """The verdict columns of a row that is set aside."""
    if reason not in REASONS:
        raise ValueError(f"{reason!r} is not in mmgic.schema.REASONS")
    return {"keep": False, "reason": reason, "detail": detail}


KEPT: Verdict = {"keep": True, "reason": "", "detail": ""}


def count_drops(reasons: Sequence[str]) -> list[Drop]:
    """`reasons` as the sorted counts that a row's `drops` column holds."""
    return [{"reason": r, "count": reasons.count(r)} for r in sorted(set(reasons))]


def add_drops(drops: Sequence[Drop], reasons: Sequence[str]) -> list[Drop]:
    """A row's `drops` with `reasons` counted on top."""
    before = [drop["reason"] for drop in drops for _ in range(drop["count"])]
    return count_drops([*before, *reasons])
