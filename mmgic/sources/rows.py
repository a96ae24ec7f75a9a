"""The rows that every source yields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from mmgic.schema import ANNOTATED_IMAGE, INTERLEAVED, KEPT, add_drops, count_drops, reject, row_id


def source_row(
    schema: pa.Schema, source: str, record_id: str, times_seen: int, columns: Mapping[str, Any], noun: str = "image"
) -> dict[str, Any]:
    """A row of `schema` that holds `columns`, kept and without drops where these say nothing else.

    A record that the source listed `times_seen` > 0 times before is set aside as a duplicate, with a row_id of its own.
    `noun` is what it is called there. Raises KeyError if a column of the schema is missing.
    """
    key = {"row_id": row_id(source, record_id, times_seen), "source": source, "image_id": record_id}
    row: dict[str, Any] = {**key, "drops": [], **KEPT, **columns}
    if times_seen:
        detail = f"{noun} {record_id} is listed {times_seen + 1} times so far; the first one stays"
        row |= reject("duplicate_id", detail)
    return {name: row[name] for name in schema.names}


def annotated_image(source: str, image_id: str, times_seen: int, **columns: Any) -> dict[str, Any]:
    """A `source_row` of ANNOTATED_IMAGE that holds `columns` and is otherwise empty."""
    empty = {
        "image_path": "",
        "width": 0,
        "height": 0,
        "caption": "",
        "narrative": "",
        "candidates": [],
        "objects": [],
        "attributes": [],
        "relationships": [],
    }
    return source_row(ANNOTATED_IMAGE, source, image_id, times_seen, {**empty, **columns})


def bad_record(source: str, image_id: str, times_seen: int, detail: str) -> dict[str, Any]:
    """The row of a record that lacks what its format demands."""
    return annotated_image(source, image_id, times_seen, **reject("bad_record", detail))


Part = dict[str, Any]


def text_part(text: str) -> Part:
    return {"text": text, "image": -1}


def image_part(image: int) -> Part:
    """The image at position `image` of its row's `images`."""
    return {"text": "", "image": image}


def interleaved(
    source: str,
    record_id: str,
    times_seen: int,
    task: str,
    images: Sequence[str] = (),
    rounds: Sequence[tuple[Sequence[Part], Sequence[Part]]] = (),
    *,
    urls: Sequence[str] = (),
    drops: Sequence[str] = (),
    **columns: Any,
) -> dict[str, Any]:
    """A `source_row` of INTERLEAVED.

    `images` are named by paths, or by `urls`; `rounds` are (instruction, response); `drops` are reasons.
    """
    content = {
        "task": task,
        "images": [
            *({"url": "", "image_path": path, "codes": []} for path in images),
            *({"url": url, "image_path": "", "codes": []} for url in urls),
        ],
        "rounds": [{"instruction": list(asked), "response": list(answered)} for asked, answered in rounds],
        "drops": count_drops(list(drops)),
    }
    return source_row(INTERLEAVED, source, record_id, times_seen, {**content, **columns}, noun="record")


def without_images(row: dict[str, Any], failures: Mapping[int, tuple[str, str]]) -> dict[str, Any]:
    """An INTERLEAVED row without the images of `failures`, position -> (one of REASONS, what was wrong).

    A web page goes on as long as one image is left, and its `drops` count the others as image_failed. Any other row is
    set aside for the first failure.
    """
    if not failures:
        return row
    kept = [i for i in range(len(row["images"])) if i not in failures]
    if row["task"] != "interleaved" or not kept:
        return {**row, **reject(*failures[min(failures)])}
    position = {old: new for new, old in enumerate(kept)}

    def renumbered(parts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        # the position of a text is -1
        return [{**part, "image": position.get(part["image"], -1)} for part in parts if part["image"] not in failures]

    return {
        **row,
        "images": [row["images"][i] for i in kept],
        "rounds": [{side: renumbered(parts) for side, parts in turn.items()} for turn in row["rounds"]],
        "drops": add_drops(row["drops"], ["image_failed"] * len(failures)),
    }
