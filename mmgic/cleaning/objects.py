"""Which objects of an image stay, and what is said of those that do (F.2)."""

from __future__ import annotations

import math
from collections.abc import Callable

from mmgic.cleaning.labels import KeptLabels
from mmgic.schema import AnnotatedImage, Object, add_drops
from mmgic.settings import CleaningSettings


def object_fault(thing: Object, row: AnnotatedImage, cleaning: CleaningSettings) -> str:
    """The reason for which an object is unfit whatever its label's frequency, or ""."""
    x, y, w, h = thing["x"], thing["y"], thing["w"], thing["h"]
    if len(thing["synset"].split()) > 1:
        return "object_many_synsets"
    if not all(map(math.isfinite, (x, y, w, h))) or x + w <= x or y + h <= y:
        return "object_bad_box"
    slack = cleaning.box_tolerance
    inside = -slack <= x and -slack <= y and x + w <= row["width"] + slack and y + h <= row["height"] + slack
    # what the tolerance lets through must still show in the image
    visible = x < row["width"] and y < row["height"] and x + w > 0 and y + h > 0
    return "" if inside and visible else "object_outside_image"


def clean_objects(
    row: AnnotatedImage, labels: KeptLabels, cleaning: CleaningSettings
) -> tuple[list[Object], list[str]]:
    """The objects that stay, under their final names and cut to the image, and the reasons of the others."""
    objects: list[Object] = []
    drops: list[str] = []
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


def with_objects(
    row: AnnotatedImage, objects: list[Object], drops: list[str], fault_of: Callable[[str, str], str]
) -> AnnotatedImage:
    """The row with `objects` and what is said of them alone; `drops` are the reasons of the objects that went.

    `fault_of` gives the drop reason of an attribute or relationship by its kind and label, or "".
    """
    kept = {o["object_id"] for o in objects}
    drops = list(drops)

    def remains(kind: str, label: str, *objects: str) -> bool:
        there = kept.issuperset(objects)
        if fault := fault_of(kind, label) if there else f"{kind}_object_removed":
            drops.append(fault)
        return not fault

    attributes = [a for a in row["attributes"] if remains("attribute", a["label"], a["object_id"])]
    relationships = [
        r for r in row["relationships"] if remains("relationship", r["label"], r["subject_id"], r["object_id"])
    ]
    return {
        **row,
        "objects": objects,
        "attributes": attributes,
        "relationships": relationships,
        "drops": add_drops(row["drops"], drops),
    }
