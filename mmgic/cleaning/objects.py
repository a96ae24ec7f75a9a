"""Which objects of an image stay, and what is said of those that do (F.2)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from mmgic.cleaning.labels import KeptLabels
from mmgic.schema import add_drops
from mmgic.settings import CleaningSettings

Row = dict[str, Any]


def object_fault(thing: Row, row: Row, cleaning: CleaningSettings) -> str:
    """The reason for which an object is unfit whatever its label's frequency, or ""."""
    x, y, w, h = (thing[side] for side in ("x", "y", "w", "h"))
    if len(thing["synset"].split()) > 1:
        return "object_many_synsets"
    if not all(map(math.isfinite, (x, y, w, h))) or x + w <= x or y + h <= y:
        return "object_bad_box"
    slack = cleaning.box_tolerance
    inside = -slack <= x and -slack <= y and x + w <= row["width"] + slack and y + h <= row["height"] + slack
    # what the tolerance lets through must still show in the image
    visible = x < row["width"] and y < row["height"] and x + w > 0 and y + h > 0
    return "" if inside and visible else "object_outside_image"


def clean_objects(row: Row, labels: KeptLabels, cleaning: CleaningSettings) -> tuple[list[Row], list[str]]:
    """The objects that stay, under their final names and cut to the image, and the reasons of the others."""
    objects, drops = [], []
    for thing in row["objects"]:
        name = labels.objects.get((thing["label"], thing["synset"]))
        fault = object_fault(thing, row, cleaning) or ("" if name else "object_label_rare")
        if fault or not name:
            drops.append(fault)
            continue
        x, w = _cut(thing["x"], thing["w"], row["width"])
        y, h = _cut(thing["y"], thing["h"], row["height"])
        objects.append({**thing, "label": name[0], "synset": name[1], "x": x, "y": y, "w": w, "h": h})
    return objects, drops


def _cut(start: float, length: float, limit: int) -> tuple[float, float]:
    """The part of an interval (start, length) between 0 and `limit`, the interval itself where all of it is."""
    if start >= 0 and start + length <= limit:
        return start, length
    left = max(start, 0.0)
    return left, min(start + length, float(limit)) - left


def with_objects(row: Row, objects: list[Row], drops: list[str], fault_of: Callable[[str, str], str]) -> Row:
    """The row with `objects` and what is said of them alone; `drops` are the reasons of the objects that went.

    `fault_of` gives the drop reason of an attribute or relationship by its kind and label, or "".
    """
    kept = {o["object_id"] for o in objects}
    drops = list(drops)

    def remaining(kind: str, entries: list[Row], *ends: str) -> list[Row]:
        left = []
        for entry in entries:
            there = all(entry[end] in kept for end in ends)
            if fault := fault_of(kind, entry["label"]) if there else f"{kind}_object_removed":
                drops.append(fault)
            else:
                left.append(entry)
        return left

    attributes = remaining("attribute", row["attributes"], "object_id")
    relationships = remaining("relationship", row["relationships"], "subject_id", "object_id")
    return {
        **row,
        "objects": objects,
        "attributes": attributes,
        "relationships": relationships,
        "drops": add_drops(row["drops"], drops),
    }
