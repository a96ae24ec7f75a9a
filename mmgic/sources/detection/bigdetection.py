"""BigDetection's boxes for Open Images, and the pairing that carries attributes and relationships over (F.1).

Its files are COCO-style and name an image by a path whose stem is Open Images' id. They are given on request only;
if they are missing, Open Images' own boxes are used. The validation file holds the images of all of BigDetection's
datasets, of which LVIS's are COCO's: benchmark images, which must not be taken for Open Images'.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise, starmap
from typing import Any

import numpy as np
import pyarrow as pa

from mmgic.schema import Object
from mmgic.sources.detection.coco import box_records, category_labels, category_records, coco_objects, not_detection
from mmgic.sources.detection.open_images_content import Content
from mmgic.sources.reading.files import file_stem, image_size, text_id
from mmgic.sources.reading.json_files import stream_json
from mmgic.sources.reading.near_names import inner_parts
from mmgic.sources.reading.sorting import Group, Sorter

_BINS = (0.0, 0.5, 0.9, 0.95, 0.99)


@dataclass
class Pairing:
    """How well BigDetection's boxes fit Open Images', over a whole run."""

    min_iou: float
    counts: Counter[float] = field(default_factory=Counter)  # boxes by the lower edge of their IoU's bin
    alone: int = 0  # boxes in images where Open Images has none

    def carry_over(self, native: Content, objects: list[Object], drops: list[str]) -> Content:
        """`objects` (BigDetection's, of one image) with the attributes and relationships of `native`.

        Each object pairs with the native region of largest IoU; where several pair with one region, the one of the
        region's own label goes first, then the larger IoU. An annotation stays if all of its ends are paired. `drops`
        are those of `objects`; the native objects' own are no longer of interest.
        """
        paired = self._pair(native.objects, objects)
        content = Content(objects, drops=[*drops, *(d for d in native.drops if not d.startswith("object_"))])
        for attribute in native.attributes:
            if owner := paired.get(attribute["object_id"]):
                content.attributes.append({**attribute, "object_id": owner})
            else:
                content.drops.append("attribute_unpaired")
        for relationship in native.relationships:
            subject, target = paired.get(relationship["subject_id"]), paired.get(relationship["object_id"])
            if subject and target:
                content.relationships.append({**relationship, "subject_id": subject, "object_id": target})
            else:
                content.drops.append("relationship_unpaired")
        return content

    def _pair(self, native: list[Object], objects: list[Object]) -> dict[str, str]:
        """Native object id -> id of the object that stands for it."""
        if not native or not objects:
            self.alone += len(objects)
            return {}
        # several classes of one region (Person, Man) are boxes with the same edges: one region to pair with
        regions: dict[tuple[float, ...], list[Object]] = {}
        for thing in native:
            regions.setdefault((thing["x"], thing["y"], thing["w"], thing["h"]), []).append(thing)
        overlaps = iou(np.array([[o["x"], o["y"], o["w"], o["h"]] for o in objects]), np.array(list(regions)))
        nearest, best = overlaps.argmax(axis=1), overlaps.max(axis=1)
        self.counts.update(_BINS[i] for i in np.searchsorted(_BINS, best, side="right") - 1)
        members = list(regions.values())
        takers: dict[int, list[int]] = {}
        for i in np.flatnonzero(best >= self.min_iou):
            takers.setdefault(int(nearest[i]), []).append(int(i))
        paired = {}
        for region, candidates in takers.items():
            for thing in members[region]:
                label = thing["label"].casefold()
                first = min(candidates, key=lambda i: (objects[i]["label"].casefold() != label, -best[i], i))
                paired[thing["object_id"]] = objects[first]["object_id"]
        return paired

    def summary(self) -> str:
        total = sum(self.counts.values())
        edges = [*_BINS, 1.0]
        shares = [
            f"{low:g} to {high:g}: {self.counts[low]:,} ({self.counts[low] / max(1, total):.1%})"
            for low, high in pairwise(edges)
        ]
        return (
            f"IoU of {total:,} BigDetection boxes with the nearest Open Images box: {', '.join(shares)}; "
            f"{self.alone:,} more in images without any; pairs need {self.min_iou:g}"
        )


def iou(first: np.ndarray[Any, Any], second: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Intersection over union of boxes (n, 4) and (m, 4) of x, y, w, h: (n, m), 0 if a box has no area."""
    a, b = first[:, None, :], second[None, :, :]
    overlap = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = overlap.clip(min=0).prod(axis=-1)
    union = a[..., 2:].clip(min=0).prod(axis=-1) + b[..., 2:].clip(min=0).prod(axis=-1) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


class Detections:
    """BigDetection files sorted by image. Raises InputError if one is no COCO-style detection file.

    Each file has ids of its own, for images as for categories.
    """

    def __init__(self, paths: Sequence[str], sorter: Sorter) -> None:
        self.paths = paths
        self._labels = [category_labels(category_records(path)) for path in paths]
        self._sorter = sorter
        text, number = pa.string(), pa.int64()
        kinds = {"stem": text, "file": number, "position": number, "id": text, "width": number, "height": number}
        self._images = sorter.store(kinds, chain.from_iterable(starmap(_images, enumerate(paths))))
        kinds = {"image": text, "file": number, "position": number, "fields": text}
        self._boxes = sorter.store(kinds, chain.from_iterable(starmap(_boxes, enumerate(paths))))

    def images(self) -> Iterator[Group]:
        """Rows (stem, file, position, image id, width, height); width and height are 0 where the record gives none."""
        return self._sorter.groups(f"SELECT * FROM {self._images}")

    def boxes(self) -> Iterator[Group]:
        """Rows (stem, image id, file, position, fields) of the images that are listed, for `objects`."""
        listed = f"(SELECT DISTINCT stem, file, id FROM {self._images} WHERE id <> '')"
        same = "b.image = i.id AND b.file = i.file"
        return self._sorter.groups(f"SELECT i.stem, b.* FROM {self._boxes} b JOIN {listed} i ON {same}")

    def strays(self) -> Iterator[Group]:
        """The annotations, by image id and file, of images that are not listed."""
        listed = f"{self._images} i ON b.image = i.id AND b.file = i.file"
        return self._sorter.groups(f"SELECT b.image, b.file FROM {self._boxes} b ANTI JOIN {listed}")

    def record_id(self, file: int, name: str) -> str:
        """What a record is called that has no image's id: `name`, after that of its file if there are several."""
        return name if len(self.paths) == 1 else f"{file_stem(self.paths[file])}/{name}"

    def objects(self, boxes: list[tuple[Any, ...]], image: tuple[Any, ...]) -> tuple[list[Object], list[str]]:
        """The objects among rows of `boxes` of a row of `images`, and the reasons of what gives none."""
        _, file, _, image_id, *_ = image
        fields = [json.loads(row[4]) for row in boxes if row[1:3] == (image_id, file)]
        return coco_objects(fields, self._labels[file])


def _images(file: int, path: str) -> Iterator[tuple[str, int, int, str, int, int]]:
    position = 0
    for position, entry in enumerate(stream_json(path, "images.item"), start=1):
        record = entry if isinstance(entry, dict) else {}
        width, height = image_size(record) or (0, 0)
        stem = "".join(map(file_stem, inner_parts(record.get("file_name"))[-1:]))
        yield stem, file, position, text_id(record.get("id")), width, height
    if not position:
        raise not_detection(path, "images")


def _boxes(file: int, path: str) -> Iterator[tuple[str, int, int, str]]:
    position = 0
    for position, (image, fields) in enumerate(box_records(path), start=1):
        yield image, file, position, json.dumps(fields)
    if not position:
        raise not_detection(path, "annotations")
