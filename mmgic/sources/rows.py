"""The rows that every source yields."""

from __future__ import annotations

from typing import Any

from mmgic.schema import ANNOTATED_IMAGE, KEPT, reject, row_id


def annotated_image(source: str, image_id: str, times_seen: int, **columns: Any) -> dict[str, Any]:
    """A row of ANNOTATED_IMAGE that holds `columns` and is otherwise empty.

    An image that the source listed `times_seen` > 0 times before is set aside as a duplicate, with a row_id of its own.
    """
    row: dict[str, Any] = {
        "row_id": row_id(source, image_id, times_seen),
        "source": source,
        "image_id": image_id,
        "image_path": "",
        "width": 0,
        "height": 0,
        "caption": "",
        "narrative": "",
        "questions": [],
        "objects": [],
        "attributes": [],
        "relationships": [],
        "drops": [],
        **KEPT,
        **columns,
    }
    if times_seen:
        row |= reject("duplicate_id", f"image {image_id} is listed {times_seen + 1} times so far; the first one stays")
    return {name: row[name] for name in ANNOTATED_IMAGE.names}


def bad_record(source: str, image_id: str, times_seen: int, detail: str) -> dict[str, Any]:
    """The row of a record that lacks what its format demands."""
    return annotated_image(source, image_id, times_seen, **reject("bad_record", detail))
