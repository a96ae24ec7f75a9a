"""One image cleaned, with the labels that its dataset keeps (F.2)."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from mmgic.cleaning.images import image_fault
from mmgic.cleaning.labels import KeptLabels
from mmgic.cleaning.objects import clean_objects, with_objects
from mmgic.schema import AnnotatedImage, reject
from mmgic.settings import CleaningSettings


def clean_image(row: AnnotatedImage, labels: KeptLabels, cleaning: CleaningSettings) -> AnnotatedImage:
    """Returns the row with its faulty annotations removed and counted in `drops`, or set aside with a reason.

    Boxes that leave the image by no more than `cleaning.box_tolerance` pixels are cut to it.
    """
    if not row["keep"]:
        return row
    fault = image_fault(row, cleaning)
    if fault:
        return {**row, **reject(fault, f"{row['width']} x {row['height']} pixels")}
    frequent = {"attribute": labels.attributes, "relationship": labels.relationships}

    def fault_of(kind: str, label: str) -> str:
        return "" if label in frequent[kind] else f"{kind}_rare" if label else f"{kind}_empty"

    cleaned = with_objects(row, *clean_objects(row, labels, cleaning), fault_of)
    if not cleaned["objects"]:
        return {**cleaned, **reject("no_objects", f"none of {len(row['objects'])} annotated objects is usable")}
    return cleaned


def clean_row(row: AnnotatedImage, labels: Mapping[str, KeptLabels], cleaning: CleaningSettings) -> AnnotatedImage:
    """`clean_image` with the labels of the row's source."""
    return clean_image(row, labels[row["source"]], cleaning)


def remove_invalid_labels(row: AnnotatedImage, invalid: Collection[tuple[str, str]]) -> AnnotatedImage:
    """F.2 step 8: the row without the labels of `invalid` (kind, label), which are no reasonable concepts.

    What was said of a removed object goes with it. Everything removed is counted in `drops`; a row left without objects
    is set aside as `no_objects`.
    """
    if not invalid or not row["keep"]:
        return row
    objects = [o for o in row["objects"] if ("object", o["label"]) not in invalid]
    drops = ["object_label_invalid"] * (len(row["objects"]) - len(objects))

    def fault_of(kind: str, label: str) -> str:
        return f"{kind}_label_invalid" if (kind, label) in invalid else ""

    cleaned = with_objects(row, objects, drops, fault_of)
    if not objects:
        return {**cleaned, **reject("no_objects", f"none of the labels of its {len(row['objects'])} objects is valid")}
    return cleaned
