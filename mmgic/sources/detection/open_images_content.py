"""What one Open Images image holds: its boxes as objects, and the VRD lines as attributes and relationships of them."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from mmgic.errors import InputError
from mmgic.schema import Attribute, Object, Relationship
from mmgic.settings import SourceSettings
from mmgic.sources.reading.files import collapse_spaces
from mmgic.sources.reading.opening import open_text
from mmgic.sources.reading.sorting import Column

Row = tuple[Any, ...]

# V2 and V3 have no flags; they are 0, 1 or -1 (not known)
BOX_COLUMNS = (
    Column(("ImageID",)),
    Column(("LabelName",)),
    *(Column((name,), number=True) for name in ("XMin", "XMax", "YMin", "YMax")),
    Column(("IsGroupOf",), default="0"),
    Column(("IsDepiction",), default="0"),
)
RELATION_COLUMNS = (
    Column(("ImageID",)),
    Column(("LabelName1",)),
    Column(("LabelName2",)),
    *(Column((f"{side}{end}",), number=True) for end in (1, 2) for side in ("XMin", "XMax", "YMin", "YMax")),
    Column(("RelationshipLabel",)),
)
SIZE_COLUMNS = (
    Column(("image_id", "ImageID")),
    Column(("image_w", "width", "Width"), number=True),
    Column(("image_h", "height", "Height"), number=True),
)

ATTRIBUTE = "is"  # the relationship whose second end is an attribute
_SAME_EDGE = 1e-3  # of the image's side: the files round coordinates to between 5 and 9 digits
_HEADERS = ("id", "labelname", "mid")


Entry = TypeVar("Entry", Attribute, Relationship)


@dataclass(frozen=True)
class Names:
    """What the ids mean."""

    classes: dict[str, str]
    attributes: dict[str, str]
    relationships: dict[str, str]


@dataclass
class Content:
    """The annotations of one image; `drops` are the reasons of those that could not be used."""

    objects: list[Object] = field(default_factory=list)
    attributes: list[Attribute] = field(default_factory=list)
    relationships: list[Relationship] = field(default_factory=list)
    drops: list[str] = field(default_factory=list)


def read_names(classes: Sequence[str], attributes: Sequence[str], relationships: Sequence[str]) -> Names:
    """Reads description files (id,name), with or without a header line. Later files win."""
    return Names(
        {key: collapse_spaces(name) for key, name in _pairs(classes).items()},
        {key: predicate_name(name) for key, name in _pairs(attributes).items()},
        {key: predicate_name(name) for key, name in _pairs(relationships).items()},
    )


def predicate_name(name: str) -> str:
    """An attribute or relationship for display: "(made of)Leather" -> "made of leather", "inside_of" -> "inside of"."""
    return collapse_spaces(re.sub(r"\(([^()]*)\)", r"\1 ", name.replace("_", " "))).lower()


def _pairs(paths: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in paths:
        try:
            with open_text(path) as file:
                lines = [line for line in csv.reader(file) if len(line) >= 2]
        except csv.Error as error:
            raise InputError(f"cannot read {path} as lines of id,name: {error}") from None
        if lines and lines[0][0].strip().casefold() in _HEADERS:
            lines = lines[1:]
        if not lines:
            raise InputError(f"{path} holds no lines of id,name; download it again")
        found |= {key.strip(): name for key, name, *_ in lines if key.strip() and name.strip()}
    return found


def join_content(
    boxes: Sequence[Row], relations: Sequence[Row], size: tuple[int, int], names: Names, source: SourceSettings
) -> Content:
    """The content of one image of `size` pixels.

    `boxes` and `relations` are rows of BOX_COLUMNS and RELATION_COLUMNS after the key and the file's position. An end
    of a relationship is the object of the same label whose edges are nearest, within a thousandth of the image's side.
    What the file says twice is one relationship.
    """
    content = Content()
    by_label: dict[str, list[tuple[str, Row]]] = {}  # object id and edges, by class id
    seen: set[Row] = set()
    width, height = size
    for class_id, *edges, group, depiction in boxes:
        label, box = names.classes.get(class_id), (class_id, *edges)
        if not _all_finite(edges):
            content.drops.append("object_bad_box")
        elif label is None:
            content.drops.append("object_label_unknown")
        elif group == "1" and not source.keep_groups:
            content.drops.append("object_group")
        elif depiction == "1" and not source.keep_depictions:
            content.drops.append("object_depiction")
        elif box in seen:
            content.drops.append("object_duplicate")
        else:
            seen.add(box)
            object_id = str(len(content.objects))
            by_label.setdefault(class_id, []).append((object_id, tuple(edges)))
            left, right, top, bottom = edges
            content.objects.append(
                {
                    "object_id": object_id,
                    "label": label,
                    "synset": "",
                    "x": left * width,
                    "y": top * height,
                    "w": (right - left) * width,
                    "h": (bottom - top) * height,
                }
            )
    for relation in relations:
        _add_relation(content, relation, by_label, names)
    return content


def _add_relation(content: Content, relation: Row, by_label: dict[str, list[tuple[str, Row]]], names: Names) -> None:
    first, second, predicate = relation[0], relation[1], relation[-1]
    subject = _nearest(by_label.get(first, ()), relation[2:6])
    if predicate == ATTRIBUTE:
        label = names.attributes.get(second, "")
        if not subject:
            content.drops.append("attribute_object_removed")
        elif not label:
            content.drops.append("attribute_label_unknown")
        else:
            attribute: Attribute = {"object_id": subject, "label": label}
            _add_once(content.attributes, attribute)
        return
    target = _nearest(by_label.get(second, ()), relation[6:10])
    label = names.relationships.get(predicate) or predicate_name(predicate)
    if not subject or not target:
        content.drops.append("relationship_object_removed")
    else:
        relationship: Relationship = {"subject_id": subject, "label": label, "object_id": target}
        _add_once(content.relationships, relationship)


def _all_finite(edges: Sequence[float | None]) -> bool:
    return None not in edges and math.isfinite(sum(edges))  # type: ignore[arg-type]


def _add_once(records: list[Entry], record: Entry) -> None:
    if record not in records:
        records.append(record)


def _nearest(candidates: Sequence[tuple[str, Row]], edges: Row) -> str:
    """The id of the candidate whose edges are nearest to `edges`, "" if none is near."""
    if not _all_finite(edges):
        return ""
    distances = [(max(abs(a - b) for a, b in zip(own, edges, strict=True)), object_id) for object_id, own in candidates]
    distance, object_id = min(distances, default=(math.inf, ""))
    return object_id if distance <= _SAME_EDGE else ""
