"""Open Images V4 to V7 (and V2/V3 boxes): CSV files of boxes and relationships, sorted and joined by image.

The folder holds, for train and validation, `*train*bbox.csv` (boxes), `*train*vrd.csv` (relationships, among them the
attributes as "is"), `*train*sizes*.csv` (image_id,image_w,image_h; optional), `*train*narratives*.jsonl`, and for both
`*class-descriptions*.csv`, `*attributes-description*.csv` and `*relationships-description*.csv`. Test files are left
alone (F.2). Columns go by the names in the header; ids stay text, although some look like numbers. `annotations` names
BigDetection's files if there are any (see `mmgic.sources.detection.bigdetection`).
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby, islice
from operator import itemgetter
from typing import Any

from mmgic.errors import InputError
from mmgic.images import ImageError, stored_size
from mmgic.schema import AnnotatedImage, count_drops, reject
from mmgic.settings import SourceSettings
from mmgic.sources.detection.bigdetection import Detections, Pairing
from mmgic.sources.detection.narratives import best_narrative, narrative_groups
from mmgic.sources.detection.open_images_content import (
    BOX_COLUMNS,
    RELATION_COLUMNS,
    SIZE_COLUMNS,
    Content,
    Names,
    join_content,
    read_names,
)
from mmgic.sources.formats import FORMATS
from mmgic.sources.reading.files import (
    PACKED,
    ImageFinder,
    is_safe_name,
    joined_files,
    own_names,
    packed_files,
    require_folder,
)
from mmgic.sources.reading.sorting import BadLine, Group, Sorter, merge_groups
from mmgic.sources.rows import annotated_image, bad_record

Row = dict[str, Any]

_SPLITS = ("train", "validation")
_HEADERS_AT_ONCE = 16  # image files whose sizes are read side by side

_Size = tuple[int, int]


@dataclass(frozen=True)
class _Files:
    """The files of a folder; of boxes, relations and sizes one per split, in the order of _SPLITS."""

    boxes: dict[str, str]
    relations: dict[str, str]
    sizes: list[str]
    narratives: list[str]
    names: Names


@dataclass
class _Image:
    """All that the files say about one image, as rows of the sorted streams."""

    image_id: str
    boxes: list[tuple[Any, ...]]
    relations: list[tuple[Any, ...]]
    sizes: list[tuple[Any, ...]]
    narratives: list[tuple[Any, ...]]
    detected: list[tuple[Any, ...]]  # BigDetection's records of the image
    detections: list[tuple[Any, ...]]  # and their boxes


def read_open_images(source: SourceSettings) -> Iterator[AnnotatedImage]:
    """Yields a row per image that has boxes, relationships or BigDetection's boxes, sorted by image id.

    Sizes come from BigDetection, else from the sizes files, else from the image files' headers: stored pixels, as
    `mmgic.images.read_image` counts them, whatever an EXIF tag or the `Rotation` column says. Where
    BigDetection's file is not given, Open Images' own boxes and names are used and this is printed; if it is, the
    distribution of the pairs' IoU is printed at the end. See `mmgic.sources.read_source`.
    """
    files, finder = _find(source), ImageFinder(source, _SPLITS)
    bad_lines: list[BadLine] = []
    with Sorter() as sorter, ThreadPoolExecutor(_HEADERS_AT_ONCE) as pool:
        detections, pairing = _detections(source, sorter), Pairing(source.min_pairing_iou)
        reader = _Reader(source, files, finder, own_names(source), pairing, detections)
        images = _images(reader, sorter, bad_lines)
        while block := [(image, reader.measure(image, pool)) for image in islice(images, 4 * _HEADERS_AT_ONCE)]:
            for image, measured in block:
                yield from reader.rows(image, *measured)
        for path, line, problem in sorted((bad.path, bad.line, bad.problem) for bad in (*sorter.bad_lines, *bad_lines)):
            name = posixpath.basename(path).removesuffix(PACKED)
            yield bad_record(source.name, f"{name}#{line}", 0, f"line {line} of {name}: {problem}")
        if reader.detections:
            for image_id, strays in reader.detections.strays():
                for file, boxes in groupby(strays, itemgetter(1)):
                    number, own_id = len(list(boxes)), reader.detections.record_id(file, f"image {image_id}")
                    detail = f"{number} annotations are of image '{image_id}', which is not in the 'images' list"
                    yield bad_record(source.name, own_id, 0, detail)
            print(f"{source.name}: {reader.pairing.summary()}", flush=True)


def _find(source: SourceSettings) -> _Files:
    require_folder(source)
    boxes, classes = (_matches(source, pattern) for pattern in FORMATS[source.format].files)
    more = (_matches(source, pattern) for pattern in FORMATS[source.format].more_files)
    relations, attributes, relationships, sizes, narratives = more
    boxes_by_split, relations_by_split = _per_split(source, boxes), _per_split(source, relations)
    if not boxes_by_split:
        raise InputError(
            f"source '{source.name}': {source.path} holds no box files; put oidv6-train-annotations-bbox.csv or "
            "validation-annotations-bbox.csv there"
        )
    for needed, found, name in (
        (True, classes, "class-descriptions-boxable.csv"),
        (bool(relations_by_split), attributes, "oidv6-attributes-description.csv"),
    ):
        if needed and not found:
            raise InputError(f"source '{source.name}': there is no {name} in {source.path}; put it there")
    return _Files(
        boxes_by_split,
        relations_by_split,
        [path for path in sizes if "test" not in posixpath.basename(path)],
        [path for split in _SPLITS for path in narratives if split in posixpath.basename(path)],
        read_names(classes, attributes, relationships),
    )


def _matches(source: SourceSettings, pattern: str) -> list[str]:
    return packed_files(posixpath.join(source.path, pattern))


def _per_split(source: SourceSettings, paths: list[str]) -> dict[str, str]:
    """Split -> its file; files of no split, such as the test set's, are left alone."""
    found = {}
    for split in _SPLITS:
        own = [path for path in paths if split in posixpath.basename(path)]
        if len(own) > 1:
            names = " and ".join(map(posixpath.basename, own))
            raise InputError(f"source '{source.name}': {names} hold the same {split} annotations; keep one of them")
        if own:
            found[split] = own[0]
    return found


def _detections(source: SourceSettings, sorter: Sorter) -> Detections | None:
    if source.annotations and (paths := joined_files(source, source.annotations)):
        return Detections(paths, sorter)
    missing = source.annotations or "file of BigDetection ('annotations')"
    print(f"{source.name}: there is no {missing}; using Open Images' own boxes and names", flush=True)
    return None


def _images(reader: _Reader, sorter: Sorter, bad_lines: list[BadLine]) -> Iterator[_Image]:
    files, detections = reader.files, reader.detections
    none: Iterator[Group] = iter(())
    streams = (
        sorter.csv_groups(list(files.boxes.values()), BOX_COLUMNS),
        sorter.csv_groups(list(files.relations.values()), RELATION_COLUMNS),
        sorter.csv_groups(files.sizes, SIZE_COLUMNS),
        narrative_groups(sorter, files.narratives, bad_lines),
        detections.images() if detections else none,
        detections.boxes() if detections else none,
    )
    for image_id, rows in merge_groups(*streams):
        image = _Image(image_id, *rows)
        if image.boxes or image.relations or image.detected:
            yield image


@dataclass(frozen=True)
class _Reader:
    """Makes the rows of images."""

    source: SourceSettings
    files: _Files
    finder: ImageFinder
    is_own: Callable[[str], bool]  # whether an image file of that stem is Open Images'
    pairing: Pairing
    detections: Detections | None

    def measure(self, image: _Image, pool: ThreadPoolExecutor) -> tuple[str, _Size | Future[_Size] | None]:
        """The image's path, "" if its id cannot be one, and its size, from the file if nothing else tells it."""
        name = f"{self._split(image)}/{image.image_id}.jpg"
        if not image.image_id or "/" in image.image_id or not is_safe_name(name) or self._is_others(image):
            return "", None
        path = self.finder.path(name)
        if self.detections:
            *_, width, height = image.detected[0] if image.detected else (0, 0)
            return path, (width, height) if width and height else None
        for *_, width, height in image.sizes:
            if width and height and min(width, height) >= 1:
                return path, (int(width), int(height))
        return path, pool.submit(stored_size, path)

    def rows(self, image: _Image, path: str, measured: _Size | Future[_Size] | None) -> list[AnnotatedImage]:
        """The image's row, and one for each further record of it in BigDetection's file."""
        source, image_id = self.source, image.image_id
        if not image_id:
            return self._without_id(image)
        if self._is_others(image):
            verdict = reject("other_dataset", "BigDetection has it from another dataset than Open Images")
            return [annotated_image(source.name, image_id, i, **verdict) for i in range(len(image.detected))]
        if path and self.detections and not image.detected:
            absent = reject("no_objects", "BigDetection has no record of this image")
            return [annotated_image(source.name, image_id, 0, image_path=path, **absent)]
        repeats = [annotated_image(source.name, image_id, i) for i in range(1, len(image.detected))]
        if measured is None:
            what = "the record in the 'images' list has no usable width and height" if path else "the id names no file"
            return [bad_record(source.name, image_id, 0, what), *repeats]
        try:
            width, height = measured.result() if isinstance(measured, Future) else measured
        except ImageError as error:
            verdict = reject(error.reason, error.detail)
            return [annotated_image(source.name, image_id, 0, image_path=path, **verdict), *repeats]
        content = self._content(image, (width, height))
        row = annotated_image(
            source.name,
            image_id,
            0,
            image_path=path,
            width=width,
            height=height,
            narrative=best_narrative(image.narratives),
            objects=content.objects,
            attributes=content.attributes,
            relationships=content.relationships,
            drops=count_drops(content.drops),
        )
        return [row, *repeats]

    def _without_id(self, image: _Image) -> list[AnnotatedImage]:
        lines = len(image.boxes) + len(image.relations)
        rows = [bad_record(self.source.name, "#", 0, f"{lines} lines have no ImageID")] if lines else []
        for _, file, position, record_id, *_ in image.detected:
            own_id = self.detections.record_id(file, f"#{position}") if self.detections else ""
            detail = f"record {position} of the 'images' list (id '{record_id}') names no image file"
            rows.append(bad_record(self.source.name, own_id, 0, detail))
        return rows

    def _is_others(self, image: _Image) -> bool:
        """Whether it is an image of another dataset that BigDetection's file lists."""
        return not (image.boxes or image.relations or self.is_own(image.image_id))

    def _split(self, image: _Image) -> str:
        """Where the image's file lies: in the split of its boxes, or else of its relationships, or of BigDetection."""
        for rows, paths in ((image.boxes, self.files.boxes), (image.relations, self.files.relations)):
            if rows:
                return list(paths)[rows[0][1]]
        validation = self.detections and "val" in posixpath.basename(self.detections.paths[image.detected[0][1]])
        return _SPLITS[1] if validation else _SPLITS[0]

    def _content(self, image: _Image, size: _Size) -> Content:
        boxes, relations = ([row[2:] for row in rows] for rows in (image.boxes, image.relations))
        native = join_content(boxes, relations, size, self.files.names, self.source)
        if self.detections is None:
            return native
        objects, drops = self.detections.objects(image.detections, image.detected[0])
        return self.pairing.carry_over(native, objects, drops)
