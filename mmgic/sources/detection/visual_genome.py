"""Visual Genome: image_data.json, objects.json (v1.4), attributes.json (v1.2), relationships.json (v1.4) in one folder.

The versions give the same objects other boxes, and v1.4 merged some objects away, so everything is joined by object id,
through `merged_object_ids`, never by box or name. The key names of v1.0 and v1.2 are understood.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from mmgic.cleaning.splits import Splits, read_splits
from mmgic.errors import InputError
from mmgic.schema import AnnotatedImage, Attribute, Object, Relationship, count_drops
from mmgic.settings import SourceSettings
from mmgic.sources.detection.coco_captions import caption_paths, first_caption, index_captions
from mmgic.sources.reading.files import (
    ImageFinder,
    as_number,
    collapse_spaces,
    format_files,
    image_size,
    text_id,
)
from mmgic.sources.reading.index import RecordIndex
from mmgic.sources.reading.json_files import stream_json
from mmgic.sources.rows import annotated_image, bad_record

_TABLES = ("objects", "attributes", "relationships")  # also the order of the files in the registry
_IMAGE_FOLDERS = ("VG_100K", "VG_100K_2")  # what the two image archives unpack to


def read_visual_genome(source: SourceSettings) -> Iterator[AnnotatedImage]:
    """Yields a row per record of image_data.json; see `mmgic.sources.read_source`.

    Images of the benchmarks' splits are set aside with their annotations, for the label counts come before the split.
    """
    image_data, *tables = format_files(source)
    finder, splits = ImageFinder(source, _IMAGE_FOLDERS), read_splits(source)
    with RecordIndex() as index:
        for table, path in zip(_TABLES, tables, strict=True):
            if not index.fill(table, _per_image(path, table)):
                raise _not_a_table(path)
        index_captions(index, caption_paths(source))
        index.build()
        images = 0
        for images, record in enumerate(stream_json(image_data, "item"), start=1):
            yield _image_row(record, images, source, finder, splits, index)
        if not images:
            raise _not_a_table(image_data)
        for image_id, records in index.unseen(_TABLES):
            detail = f"{records} records are of image '{image_id}', which is not in image_data.json"
            yield bad_record(source.name, image_id, 0, detail)


def _not_a_table(path: str) -> InputError:
    return InputError(f"{path} is not Visual Genome's: it should be a list of one record per image; download it again")


def _per_image(path: str, table: str) -> Iterator[tuple[str, Any]]:
    for entry in stream_json(path, "item"):
        record = entry if isinstance(entry, dict) else {}
        # an item that is no record is as good as an empty one: it is counted as unusable later
        items = [item if isinstance(item, dict) else {} for item in _list(record.get(table))]
        yield _id(record, "image_id"), items


def _id(record: dict[str, Any], key: str) -> str:
    """The id under `key`; v1.0 writes `id` for every kind of id."""
    return text_id(record.get(key, record.get("id")))


def _image_row(
    record: Any, position: int, source: SourceSettings, finder: ImageFinder, splits: Splits, index: RecordIndex
) -> AnnotatedImage:
    image_id = _id(record, "image_id") if isinstance(record, dict) else ""
    if not image_id:
        return bad_record(source.name, f"#{position}", 0, f"record {position} of image_data.json has no image_id")
    times_seen = index.times_seen(image_id)
    name, size = _image_name(record.get("url")), image_size(record)
    path = finder.path(name)
    if not path:
        detail = f"url {record.get('url')!r} does not end in folder and file"
        return bad_record(source.name, image_id, times_seen, detail)
    if size is None:
        return bad_record(source.name, image_id, times_seen, "the record has no usable width and height")
    tables = {table: [item for items in index.get(table, image_id) for item in items] for table in _TABLES}
    content = _join(tables, source.attach_merged_attributes)
    return annotated_image(
        source.name,
        image_id,
        times_seen,
        image_path=path,
        width=size[0],
        height=size[1],
        caption=first_caption(index, image_id),
        objects=list(content.objects.values()),
        attributes=content.attributes,
        relationships=content.relationships,
        drops=count_drops(content.drops),
        **splits.verdict(text_id(record.get("coco_id")), text_id(record.get("flickr_id"))),
    )


def _image_name(url: Any) -> str:
    """The folder (VG_100K or VG_100K_2) and file name at the end of an image's url, "" if there are none."""
    if not isinstance(url, str):
        return ""
    parts = url.split("/")[-2:]
    return posixpath.join(*parts) if len(parts) == 2 and all(parts) else ""


@dataclass
class _Content:
    """The annotations of one image as they are joined."""

    objects: dict[str, Object] = field(default_factory=dict)
    merged: dict[str, str] = field(default_factory=dict)  # id that v1.4 merged away -> id that took it in
    attributes: list[Attribute] = field(default_factory=list)
    relationships: list[Relationship] = field(default_factory=list)
    drops: list[str] = field(default_factory=list)

    def surviving(self, object_id: str) -> str:
        """The id under which an object is still there, "" if it is gone."""
        return object_id if object_id in self.objects else self.merged.get(object_id, "")


def _join(tables: dict[str, list[dict[str, Any]]], attach_merged_attributes: bool) -> _Content:
    content = _Content()
    for record in tables["objects"]:
        _add_object(content, record)
    for record in tables["attributes"]:
        _add_attributes(content, record, attach_merged_attributes)
    for record in tables["relationships"]:
        _add_relationship(content, record)
    return content


def _add_object(content: _Content, record: dict[str, Any]) -> None:
    object_id, label = _id(record, "object_id"), _label(_first_name(record))
    x, y, w, h = (as_number(record.get(side)) for side in ("x", "y", "w", "h"))
    if not object_id or x is None or y is None or w is None or h is None:
        content.drops.append("object_bad_box")
    elif _is_again(content.objects.get(object_id), label, (x, y, w, h)):
        content.drops.append("object_duplicate")
    elif not label:
        content.drops.append("object_no_name")
    else:
        if object_id in content.objects:  # another object; what names the id means the first one
            object_id = f"{object_id}#{len(content.objects)}"
        synset = " ".join(dict.fromkeys(filter(None, map(collapse_spaces, _list(record.get("synsets"))))))
        content.objects[object_id] = {
            "object_id": object_id,
            "label": label,
            "synset": synset,
            "x": x,
            "y": y,
            "w": w,
            "h": h,
        }
        for merged_id in map(text_id, _list(record.get("merged_object_ids"))):
            content.merged.setdefault(merged_id, object_id)


def _is_again(known: Object | None, label: str, box: tuple[float, ...]) -> bool:
    return known is not None and (known["label"], known["x"], known["y"], known["w"], known["h"]) == (label, *box)


def _add_attributes(content: _Content, record: dict[str, Any], attach_merged: bool) -> None:
    labels = [_label(attribute) for attribute in _list(record.get("attributes"))]
    object_id = _id(record, "object_id")
    owner = content.surviving(object_id)
    if owner and (owner == object_id or attach_merged):
        content.attributes += [{"object_id": owner, "label": label} for label in labels]
    else:
        content.drops += ["attribute_object_removed"] * len(labels)


def _add_relationship(content: _Content, record: dict[str, Any]) -> None:
    # of v1.4's endpoints some carry the old box and `name`, others the new box and `names`: only the id counts
    ends = [record.get(end) for end in ("subject", "object")]
    subject, target = (content.surviving(_id(end, "object_id")) if isinstance(end, dict) else "" for end in ends)
    if subject and target:
        label = _label(record.get("predicate"))
        content.relationships.append({"subject_id": subject, "label": label, "object_id": target})
    else:
        content.drops.append("relationship_object_removed")


def _first_name(record: dict[str, Any]) -> Any:
    names = record.get("names", record.get("object_names", record.get("name")))
    return names if isinstance(names, str) else next(iter(_list(names)), "")


def _label(text: Any) -> str:
    """Crowd-written labels are compared in lower case with single blanks (F.2 counts them)."""
    return collapse_spaces(text).lower()


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
