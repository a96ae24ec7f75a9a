"""COCO-style detection JSON: the form of Objects365, BigDetection, V3Det and COCO itself.

{"images": [{"id", "file_name", "width", "height"}], "annotations": [{"id", "image_id", "category_id", "bbox",
"iscrowd"}], "categories": [{"id", "name"}]}; `bbox` is x, y, w, h in pixels. The three lists may stand in any order.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from typing import Any

from mmgic.errors import InputError
from mmgic.schema import AnnotatedImage, Object, count_drops, reject
from mmgic.settings import SourceSettings
from mmgic.sources.detection import objects365
from mmgic.sources.detection.coco_captions import caption_paths, first_caption, index_captions
from mmgic.sources.reading.files import (
    ImageFinder,
    annotation_paths,
    collapse_spaces,
    file_stem,
    image_size,
    is_number,
    own_names,
    stream_json,
    text_id,
)
from mmgic.sources.reading.index import RecordIndex
from mmgic.sources.rows import annotated_image, bad_record


def read_coco(source: SourceSettings) -> Iterator[AnnotatedImage]:
    """Yields a row per image record; see `mmgic.sources.read_source`.

    Crowd boxes are dropped, as detection training does, and so are exact repeats (label and box), of which Objects365
    has many. A box of several categories (V3Det's pre-release files) becomes an object for each. Where `annotations`
    names several files (train and validation), whose ids may be the same, an image's id begins with its file's name;
    each has its own captions file if there are as many. Images whose names do not fit `image_names` are set aside as
    `other_dataset`.
    """
    return read_detections(source, category_labels)


def read_detections(
    source: SourceSettings, labels_of: Callable[[list[dict[str, Any]]], dict[str, str]]
) -> Iterator[AnnotatedImage]:
    """`read_coco` with the labels (category id -> label) that `labels_of` makes of the category records."""
    paths, captions = annotation_paths(source), caption_paths(source)
    is_own = own_names(source)
    for number, (path, prefix) in enumerate(zip(paths, _prefixes(paths, source.path), strict=True)):
        finder = ImageFinder(source, annotations=path)
        labels = labels_of(category_records(path))
        with RecordIndex() as index:
            if not index.fill("box", box_records(path)):
                raise not_detection(path, "annotations")
            index_captions(index, captions[number : number + 1] if len(captions) == len(paths) else captions)
            index.build()
            images = 0
            for images, record in enumerate(stream_json(path, "images.item"), start=1):
                yield _image_row(record, images, source, prefix, labels, finder, is_own, index)
            if not images:
                raise not_detection(path, "images")
            for image_id, boxes in index.unseen(["box"]):
                detail = f"{boxes} annotations are of image '{image_id}', which is not in the 'images' list"
                yield bad_record(source.name, prefix + image_id, 0, detail)


def _prefixes(paths: list[str], folder: str) -> list[str]:
    """What the ids of each file's images begin with: nothing if there is one file, else its name."""
    names = [posixpath.basename(path) for path in paths]
    if len(set(names)) < len(names):
        names = [path.removeprefix(folder).lstrip("/") for path in paths]
    return [f"{name.removesuffix('.json')}/" for name in names] if len(paths) > 1 else [""]


def not_detection(path: str, missing: str) -> InputError:
    return InputError(
        f"{path} has no '{missing}' list; give a COCO-style detection file (images, annotations and categories)"
    )


def category_records(path: str) -> list[dict[str, Any]]:
    """The category records of a file, by id: files of one dataset list them in different orders."""
    records = [record for record in stream_json(path, "categories.item") if isinstance(record, dict)]
    if not records:
        raise not_detection(path, "categories")
    return sorted(records, key=lambda record: (len(text_id(record.get("id"))), text_id(record.get("id"))))


def category_labels(records: list[dict[str, Any]]) -> dict[str, str]:
    """Category id -> label: `bow_(weapon)` reads `bow (weapon)`, and Objects365's typing errors are corrected."""
    names = {text_id(r.get("id")): category_name(r) for r in records}
    if len(records) == objects365.CATEGORIES:
        names = {category: objects365.corrected_name(name) for category, name in names.items()}
    return {category: name for category, name in names.items() if category and name}


def category_name(record: dict[str, Any]) -> str:
    return collapse_spaces(str(record.get("name") or "").replace("_", " "))


def box_records(path: str) -> Iterator[tuple[str, Any]]:
    """(image id, the fields of an annotation that `coco_objects` takes)."""
    fields = ("id", "category_id", "bbox", "iscrowd")
    for annotation in stream_json(path, "annotations.item"):
        record = annotation if isinstance(annotation, dict) else {}
        yield text_id(record.get("image_id")), [record.get(field) for field in fields]


def _image_row(
    record: Any,
    position: int,
    source: SourceSettings,
    prefix: str,
    labels: dict[str, str],
    finder: ImageFinder,
    is_own: Callable[[str], bool],
    index: RecordIndex,
) -> AnnotatedImage:
    own_id = text_id(record.get("id")) if isinstance(record, dict) else ""
    image_id = prefix + own_id
    if not own_id:
        return bad_record(source.name, f"{prefix}#{position}", 0, f"record {position} of the 'images' list has no id")
    times_seen = index.times_seen(own_id)
    name, size = record.get("file_name"), image_size(record)
    path = finder.path(name)
    if not path:
        return bad_record(source.name, image_id, times_seen, f"file_name {name!r} is no name inside the image folder")
    if not is_own(file_stem(path)):
        verdict = reject("other_dataset", f"file_name {name!r} is none of this dataset's")
        return annotated_image(source.name, image_id, times_seen, **verdict)
    if size is None:
        return bad_record(source.name, image_id, times_seen, "the record has no usable width and height")
    objects, drops = coco_objects(index.get("box", own_id), labels)
    return annotated_image(
        source.name,
        image_id,
        times_seen,
        image_path=path,
        width=size[0],
        height=size[1],
        caption=first_caption(index, own_id),
        objects=objects,
        drops=count_drops(drops),
    )


def coco_objects(boxes: list[Any], labels: dict[str, str]) -> tuple[list[Object], list[str]]:
    """The objects of one image, and the reasons of the annotations that give none."""
    objects: list[Object] = []
    drops: list[str] = []
    seen: set[Any] = set()  # ids, and labels with their boxes
    for position, (annotation_id, categories, box, crowd) in enumerate(boxes):
        own_id = text_id(annotation_id) or f"#{position:06d}"
        categories = categories if isinstance(categories, list) else [categories]
        for i, category in enumerate(categories or [None]):
            object_id = f"{own_id}/{i}" if i else own_id
            label = labels.get(text_id(category))
            if crowd:
                drops.append("object_crowd")
            elif label is None:
                drops.append("object_label_unknown")
            elif not (isinstance(box, list) and len(box) == 4 and all(map(is_number, box))):
                drops.append("object_bad_box")
            elif object_id in seen or (label, *box) in seen:
                drops.append("object_duplicate")
            else:
                seen |= {object_id, (label, *box)}
                x, y, w, h = map(float, box)
                objects.append({"object_id": object_id, "label": label, "synset": "", "x": x, "y": y, "w": w, "h": h})
    return objects, drops
