"""The templates of F.6 (Tables 23 and 24): an annotated image as text with slots for visual tokens.

A template is filled to a list of segments, text between image slots, and never to one string that is parsed again: a
caption that holds the characters "[IMG]" stays text. A document is

    image_part(...) + [REGIONS_HEADING] + region_part(...) + region_part(...) + ...

without the heading if there are no regions. Each segment is tokenized by itself, so a document's length is the sum
of its segments' lengths.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from mmgic.descriptions.reading import Descriptions
from mmgic.schema import AnnotatedImage, Region, TokenizedImage
from mmgic.settings import Recipe

Order = Literal["image_first", "text_first"]

TITLE = "# Detailed Analysis of Objects in the Image\n"
IMAGE_FIRST_OPENING = f"{TITLE}\nImage: "
REGIONS_HEADING = "\n## Overview of Selected Object Regions"
REGION_TITLE = "\n\n### Overview of a Selected Object Region"


@dataclass(frozen=True)
class ImageSlot:
    """Where an image's visual tokens stand: index 0 is the image, 1 + i the row's region i."""

    index: int


Segment = str | ImageSlot
AnyImage = TypeVar("AnyImage", AnnotatedImage, TokenizedImage)


def image_part(row: AnnotatedImage, order: Order, recipe: Recipe, descriptions: Descriptions | None) -> list[Segment]:
    """The whole image with its coarse-grained (C) and fine-grained (L, O, D) annotations, those that `recipe` has.

    `descriptions=None` fills the form without descriptions. The caption stands next to the image in both orders.
    """
    row = of_recipe(row, recipe)
    captions, concepts = caption_lines(row), concept_lines(row, descriptions if "D" in recipe else None)
    if order == "image_first":
        lines = ["", *captions, *concepts]
        return [IMAGE_FIRST_OPENING, ImageSlot(0), *(["\n".join(lines)] if len(lines) > 1 else [])]
    return ["\n".join([TITLE, *concepts, *captions, "Image: "]), ImageSlot(0)]


def region_part(region: Region, index: int, order: Order) -> list[Segment]:
    """One selected object region (R): the visual tokens of `ImageSlot(index)`, its location and its object labels."""
    lines = region_lines(region)
    if order == "image_first":
        return [f"{REGION_TITLE}\nRegion: ", ImageSlot(index), "\n".join(["", *lines])]
    return ["\n".join([REGION_TITLE, *lines, "Region: "]), ImageSlot(index)]


def region_lines(region: Region) -> list[str]:
    """What is said of a region: its location and its object labels."""
    labels = (f"- {label}" for label in unique(region["labels"]))
    return [f"Location of the selected region in the image: {region['location']}", "Objects:", *labels]


def caption_prefix() -> list[Segment]:
    """The image-first document up to where the caption's own words start."""
    return [IMAGE_FIRST_OPENING, ImageSlot(0), "\nCaption:"]


def to_text(segments: Sequence[Segment]) -> str:
    """The filled template as a person reads it, with [IMG] in each slot."""
    return "".join("[IMG]" if isinstance(segment, ImageSlot) else segment for segment in segments)


def one_line(text: str) -> str:
    """`text` with every run of white space as one space: a line of the template is one line."""
    return " ".join(text.split())


def unique(items: Iterable[str]) -> list[str]:
    """`items` once each, in the order of their first appearance."""
    return list(dict.fromkeys(items))


def of_recipe(row: AnyImage, recipe: Recipe) -> AnyImage:
    """The row with those of its captions (C) and concepts (L; O: objects alone) that `recipe` has."""
    row = row.copy()
    if "C" not in recipe:
        row["caption"] = row["narrative"] = ""
    if "L" not in recipe:
        row["attributes"], row["relationships"] = [], []
        row["objects"] = row["objects"] if "O" in recipe else []
    return row


def caption_lines(row: AnnotatedImage) -> list[str]:
    """The coarse-grained annotations (C) of an image, those that it has."""
    named = (("Caption", row["caption"]), ("Localized narrative caption", row["narrative"]))
    return [f"{name}: {one_line(text)}" for name, text in named if text.strip()]


def concept_lines(row: AnnotatedImage, descriptions: Descriptions | None) -> list[str]:
    """Object, attribute and relationship labels, each label once; a part without entries leaves no heading."""
    label_of = {item["object_id"]: item["label"] for item in row["objects"]}
    objects = dict.fromkeys(label_of.values(), "")
    attributes = _group((item["label"], label_of[item["object_id"]]) for item in row["attributes"])
    relationships = _group(
        (item["label"], f"{label_of[item['subject_id']]}-{label_of[item['object_id']]}")
        for item in row["relationships"]
    )
    known = descriptions or Descriptions()
    suffix = "" if descriptions is None else " and their descriptions"
    lines = []
    for heading, entries, texts in (
        ("Objects", objects, known.objects),
        ("Attributes of objects", attributes, known.attributes),
        ("Relationships between objects", relationships, known.relationships),
    ):
        if entries:
            lines.append(f"{heading}{suffix}:")
            lines.extend(
                f"- {label}{group}" + (f": {texts[label]}" if label in texts else "")
                for label, group in entries.items()
            )
    return lines


def _group(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """(label, member) pairs as label -> " {member, member}"."""
    members: dict[str, list[str]] = {}
    for label, member in pairs:
        members.setdefault(label, []).append(member)
    return {label: f" {{{', '.join(unique(group))}}}" for label, group in members.items()}
