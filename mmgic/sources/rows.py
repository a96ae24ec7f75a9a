"""The rows that every source yields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from mmgic.schema import (
    AnnotatedImage,
    Attribute,
    CaptionedImage,
    Drop,
    Interleaved,
    Key,
    Object,
    Part,
    Relationship,
    RowImage,
    add_drops,
    count_drops,
    reject,
    row_id,
)

T = TypeVar("T", AnnotatedImage, CaptionedImage, Interleaved)


def source_key(source: str, record_id: str, times_seen: int) -> Key:
    """The key of a record that the source listed `times_seen` times before; each has a row_id of its own."""
    return {"row_id": row_id(source, record_id, times_seen), "source": source, "image_id": record_id}


def first_stays(row: T, times_seen: int, noun: str = "image") -> T:
    """The row, set aside as a duplicate if its source listed the record before; `noun` is what it is called there."""
    if not times_seen:
        return row
    detail = f"{noun} {row['image_id']} is listed {times_seen + 1} times so far; the first one stays"
    return {**row, **reject("duplicate_id", detail)}


def annotated_image(
    source: str,
    image_id: str,
    times_seen: int,
    *,
    image_path: str = "",
    width: int = 0,
    height: int = 0,
    caption: str = "",
    narrative: str = "",
    objects: Sequence[Object] = (),
    attributes: Sequence[Attribute] = (),
    relationships: Sequence[Relationship] = (),
    drops: Sequence[Drop] = (),
    keep: bool = True,
    reason: str = "",
    detail: str = "",
) -> AnnotatedImage:
    """The row of an image with what its dataset annotates."""
    row: AnnotatedImage = {
        **source_key(source, image_id, times_seen),
        "image_path": image_path,
        "width": width,
        "height": height,
        "caption": caption,
        "narrative": narrative,
        "candidates": [],
        "objects": list(objects),
        "attributes": list(attributes),
        "relationships": list(relationships),
        "drops": list(drops),
        "keep": keep,
        "reason": reason,
        "detail": detail,
    }
    return first_stays(row, times_seen)


def bad_record(source: str, image_id: str, times_seen: int, detail: str) -> AnnotatedImage:
    """The row of a record that lacks what its format demands."""
    return annotated_image(source, image_id, times_seen, **reject("bad_record", detail))


def text_part(text: str) -> Part:
    return {"text": text, "image": -1}


def image_part(image: int) -> Part:
    """The image at position `image` of its row's `images`."""
    return {"text": "", "image": image}


def row_image(path: str = "", url: str = "") -> RowImage:
    return {"url": url, "image_path": path, "codes": []}


def interleaved(
    source: str,
    record_id: str,
    times_seen: int,
    task: str,
    images: Sequence[str] = (),
    rounds: Sequence[tuple[Sequence[Part], Sequence[Part]]] = (),
    *,
    drops: Sequence[str] = (),
    keep: bool = True,
    reason: str = "",
    detail: str = "",
) -> Interleaved:
    """The row of texts with `images` by paths; `rounds` are (instruction, response), `drops` reasons."""
    row: Interleaved = {
        **source_key(source, record_id, times_seen),
        "task": task,
        "images": [row_image(path) for path in images],
        "rounds": [{"instruction": list(asked), "response": list(answered)} for asked, answered in rounds],
        "drops": count_drops(list(drops)),
        "keep": keep,
        "reason": reason,
        "detail": detail,
    }
    return first_stays(row, times_seen, noun="record")


def without_images(row: Interleaved, failures: Mapping[int, tuple[str, str]]) -> Interleaved:
    """The row without the images of `failures`, position -> (one of REASONS, what was wrong).

    A web page goes on as long as one image is left, and its `drops` count the others as image_failed. Any other row is
    set aside for the first failure.
    """
    if not failures:
        return row
    kept = [i for i in range(len(row["images"])) if i not in failures]
    if row["task"] != "interleaved" or not kept:
        return {**row, **reject(*failures[min(failures)])}
    position = {old: new for new, old in enumerate(kept)}

    def renumbered(parts: Sequence[Part]) -> list[Part]:
        # the position of a text is -1
        return [{**part, "image": position.get(part["image"], -1)} for part in parts if part["image"] not in failures]

    return {
        **row,
        "images": [row["images"][i] for i in kept],
        "rounds": [
            {"instruction": renumbered(turns["instruction"]), "response": renumbered(turns["response"])}
            for turns in row["rounds"]
        ],
        "drops": add_drops(row["drops"], ["image_failed"] * len(failures)),
    }
