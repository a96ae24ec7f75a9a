"""COCO-style detection JSON: the form of Objects365, BigDetection, V3Det and COCO itself.

{"images": [{"id", "file_name", "width", "height"}], "annotations": [{"id", "image_id", "category_id", "bbox",
"iscrowd"}], "categories": [{"id", "name"}]}; `bbox` is x, y, w, h in pixels. The three lists may stand in any order.
Tools also write numbers as text, a box as an object of its sides, and `coco_url` or `url` for `file_name`. A size that
the record lacks is read from the picture's header.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

from mmgic.errors import InputError
from mmgic.images import ImageError, stored_size
from mmgic.schema import AnnotatedImage, Object, count_drops, reject
from mmgic.settings import SourceSettings
from mmgic.sources.detection import objects365
from mmgic.sources.detection.coco_captions import caption_paths, first_caption, index_captions
from mmgic.sources.reading.files import (
    PACKED,
    ImageFinder,
    annotation_paths,
    as_number,
    collapse_spaces,
    file_stem,
    image_size,
    own_names,
    text_id,
)
from mmgic.sources.reading.index import RecordIndex
from mmgic.sources.reading.json_files import has_list, stream_json
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
            if not index.fill("box", box_records(path)) and not has_list(path, "annotations"):
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
    return [f"{name.removesuffix(PACKED).removesuffix('.json')}/" for name in names] if len(paths) > 1 else [""]


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
    name = file_name(record)
    path = finder.path(name)
    if not path:
        return bad_record(source.name, image_id, times_seen, f"file_name {name!r} is no name inside the image folder")
    if not is_own(file_stem(path)):
        verdict = reject("other_dataset", f"file_name {name!r} is none of this dataset's")
        return annotated_image(source.name, image_id, times_seen, **verdict)
    try:
        size = image_size(record) or stored_size(path)
    except ImageError as error:
        detail = f"the record has no usable width and height, and {error.detail}"
        verdict = reject(error.reason, detail)
        return annotated_image(source.name, image_id, times_seen, image_path=path, **verdict)
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


def file_name(record: dict[str, Any]) -> Any:
    """The name of an image record's file; some tools give its address alone, whose last two parts are the name."""
    if record.get("file_name"):
        return record["file_name"]
    url = record.get("coco_url") or record.get("url")
    return unquote("/".join(urlsplit(url).path.split("/")[-2:])).lstrip("/") if isinstance(url, str) else None


def coco_objects(boxes: list[Any], labels: dict[str, str]) -> tuple[list[Object], list[str]]:
    """The objects of one image, and the reasons of the annotations that give none.

    The same label and box twice is one object. An id that other objects have too, as of tools that write 0 for all, is
    told apart by the annotation's position.
    """
    objects: list[Object] = []
    drops: list[str] = []
    seen: set[Any] = set()  # ids, and labels with their boxes
    for position, (annotation_id, categories, given, crowd) in enumerate(boxes):
        own_id = text_id(annotation_id) or f"#{position:06d}"
        box = box_edges(given)
        categories = categories if isinstance(categories, list) else [categories]
        for i, category in enumerate(categories or [None]):
            object_id = f"{own_id}/{i}" if i else own_id
            label = labels.get(text_id(category))
            if _is_true(crowd):
                drops.append("object_crowd")
            elif label is None:
                drops.append("object_label_unknown")
            elif box is None:
                drops.append("object_bad_box")
            elif (label, *box) in seen:
                drops.append("object_duplicate")
            else:
                object_id = object_id if object_id not in seen else f"{object_id}#{position}"
                seen |= {object_id, (label, *box)}
                x, y, w, h = box
                objects.append({"object_id": object_id, "label": label, "synset": "", "x": x, "y": y, "w": w, "h": h})
    return objects, drops


# how the sides of a box are called: the left upper corner, and its size or the right lower corner
_CORNER = (("x", "y"), ("left", "top"), ("xmin", "ymin"), ("x1", "y1"), ("x_min", "y_min"))
_SIZE = (("w", "h"), ("width", "height"))
_OTHER_CORNER = (("right", "bottom"), ("xmax", "ymax"), ("x2", "y2"), ("x_max", "y_max"))


def box_edges(given: Any) -> tuple[float, float, float, float] | None:
    """x, y, w, h of a box that is a list, a text of a list, or an object of its sides; None if it is none of them."""
    if isinstance(given, str):
        given = given.strip(" []()").replace(",", " ").split()
    if isinstance(given, dict):
        given = _named_edges({str(name).lower(): value for name, value in given.items()})
    numbers = [number for value in given if (number := as_number(value)) is not None] if isinstance(given, list) else []
    if len(numbers) != 4 or len(given) != 4:
        return None
    x, y, w, h = numbers
    return x, y, w, h


def _named_edges(sides: dict[str, Any]) -> list[Any]:
    x, y = next(((sides[x], sides[y]) for x, y in _CORNER if x in sides and y in sides), (None, None))
    if size := next(((sides[w], sides[h]) for w, h in _SIZE if w in sides and h in sides), None):
        return [x, y, *size]
    corners = ((sides[right], sides[bottom]) for right, bottom in _OTHER_CORNER if right in sides and bottom in sides)
    left, top, right, bottom = map(as_number, (x, y, *next(corners, (None, None))))
    if left is None or top is None or right is None or bottom is None:
        return []
    return [left, top, right - left, bottom - top]


def _is_true(value: Any) -> bool:
    """If a flag is set, which some tools write as text."""
    said = value.strip().lower() if isinstance(value, str) else value
    return said not in ("0", "0.0", "false", "no", "none") and bool(said)
