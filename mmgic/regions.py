"""Object regions (Appendix F.3): a square crop around each object, the labels in it, and where it lies.

Everything is computed in the frame, the unit square that the whole image is squashed to; lengths are fractions of it.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
from PIL import Image

from mmgic.cleaning.clean import remove_invalid_labels
from mmgic.descriptions.reading import read_descriptions
from mmgic.schema import AnnotatedImage, ImageWithRegions, Object, Region, add_drops, reject
from mmgic.settings import RegionSettings

# F.7 step 2, in the order of the 3 x 3 grid, rows first
LOCATIONS = (
    "Top Left",
    "Top Middle",
    "Top Right",
    "Middle Left",
    "Center",
    "Middle Right",
    "Bottom Left",
    "Bottom Middle",
    "Bottom Right",
)

# a length that rounding put this little beside a limit is at the limit
EPSILON = 1e-9
PAIRS_AT_ONCE = 1 << 16  # of squares and boxes: a few MB, which stay in the processor's cache


@dataclass(frozen=True)
class FindRegions:
    """Cleaned row -> IMAGE_WITH_REGIONS row: labels that a description calls invalid go (F.2 step 8), regions come."""

    settings: RegionSettings
    patches: int
    descriptions: str  # file of label descriptions; "" for none

    def __call__(self, row: AnnotatedImage) -> ImageWithRegions:
        invalid = read_descriptions(self.descriptions).of(row["source"]).invalid
        return make_regions(remove_invalid_labels(row, invalid), self.settings, self.patches)


def make_regions(row: AnnotatedImage, settings: RegionSettings, patches: int) -> ImageWithRegions:
    """Returns a cleaned row with its `regions` (columns of IMAGE_WITH_REGIONS, `codes` empty), in order of object ids.

    The frame is `patches` visual patches wide. Squares of the same set of objects are one region, that of the first
    object; squares smaller or larger than the settings allow are dropped, and so are those beyond `max_regions`, which
    are drawn by the objects in them. All are counted in `drops`. An image that is
    left without a region is set aside as `no_regions`, unless the settings keep such images.
    """
    objects = sorted(row["objects"], key=_id_order)
    regions, drops = _regions(row, objects, settings, patches) if objects else ([], [])
    made: ImageWithRegions = {**row, "regions": regions, "drops": add_drops(row["drops"], drops)}
    if made["keep"] and not regions and not settings.keep_images_without:
        size = f"between {settings.min_patches:g} and {settings.max_patches:g} patches"
        return {**made, **reject("no_regions", f"none of the squares around its {len(objects)} objects is {size}")}
    return made


def _regions(
    row: AnnotatedImage, objects: list[Object], settings: RegionSettings, patches: int
) -> tuple[list[Region], list[str]]:
    """The regions around one or more `objects`, sorted by id, and the drop reasons of the squares that are none."""
    boxes = np.array([[o["x"], o["y"], o["w"], o["h"]] for o in objects]) / ([row["width"], row["height"]] * 2)
    corners, sides = squares(boxes)
    labels = [thing["label"] for thing in objects]

    drawn: list[tuple[bytes, int, Region]] = []  # a heap; on top is the one to go next
    drops: list[str] = []
    seen = set()
    for i, members in enumerate(members_of_squares(corners, sides, boxes, settings.merge_ioa)):
        side = float(sides[i])
        content = hashlib.blake2b(members.tobytes(), digest_size=16).digest()  # a hundred thousand take a few MB
        if content in seen:
            drops.append("region_duplicate")
        elif side * patches < settings.min_patches - EPSILON:
            drops.append("region_too_small")
        elif side * patches > settings.max_patches + EPSILON:
            drops.append("region_too_large")
        else:
            x, y = map(float, corners[i])
            where = location(x + side / 2, y + side / 2)
            unique = list(dict.fromkeys([labels[i], *map(labels.__getitem__, members.tolist())]))
            region: Region = {"x": x, "y": y, "side": side, "location": where, "labels": unique, "codes": []}
            if len(drawn) < settings.max_regions:
                heapq.heappush(drawn, (content, i, region))
            else:
                heapq.heappushpop(drawn, (content, i, region))
                drops.append("region_not_drawn")
        # the first square stands for its objects even if its size rules it out: duplicates go before the size rule
        seen.add(content)
    return [region for _, _, region in sorted(drawn, key=itemgetter(1))], drops


def members_of_squares(
    corners: np.ndarray, sides: np.ndarray, boxes: np.ndarray, merge_ioa: float
) -> Iterator[np.ndarray]:
    """The boxes that belong to each square, its own among them: ascending int64 [members], in the squares' order.

    Squares are compared with the boxes in blocks of PAIRS_AT_ONCE pairs, so memory grows with the boxes, not with
    their square; and of the boxes with those alone that touch the block.
    """
    (x, y), (x_end, y_end) = boxes[:, :2].T.copy(), (boxes[:, :2] + boxes[:, 2:]).T.copy()  # each in one piece
    least = merge_ioa - EPSILON
    step = max(1, PAIRS_AT_ONCE // len(boxes))
    for first in range(0, len(boxes), step):
        own = np.arange(first, min(first + step, len(boxes)))
        left, top = corners[own].min(axis=0)
        right, bottom = (corners[own] + sides[own, None]).max(axis=0)
        touching = (x < right) & (x_end > left) & (y < bottom) & (y_end > top) | (least <= 0)
        touching[own] = True
        near = np.flatnonzero(touching)
        inside = intersection_over_area(corners[own], sides[own], boxes[near]) >= least
        inside |= own[:, None] == near  # rounding must not cost a square the object it was made for
        for row in inside:
            yield near[row]


def _id_order(thing: Object) -> tuple[bool, int, str]:
    """Numeric ids by their number, before the others."""
    object_id = thing["object_id"]
    number = object_id.isdecimal()
    return not number, int(object_id) if number else 0, object_id


def squares(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The square around each box: its top left corners [N, 2] and its sides [N].

    `boxes` is float [N, 4] of x, y, w, h in the frame. A side is the box's longer edge, and the square's centre is as
    close to the box's as the frame allows.
    """
    sides = np.minimum(boxes[:, 2:].max(axis=1), 1)
    centres = boxes[:, :2] + boxes[:, 2:] / 2
    corners = np.clip(centres - sides[:, None] / 2, 0, 1 - sides[:, None])
    return corners, sides


def intersection_over_area(corners: np.ndarray, sides: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """IoA(S_i, R_j) = Area(S_i and R_j) / Area(R_j) of every square i and box j: float [N, N]."""
    shares = []
    for axis in (0, 1):  # one after the other: rows of two numbers are slow to work on
        first, last = boxes[:, axis], boxes[:, axis] + boxes[:, 2 + axis]
        start = np.maximum(corners[:, axis, None], first)
        end = np.minimum((corners[:, axis] + sides)[:, None], last)
        shares.append(np.clip(end - start, 0, None) / boxes[:, 2 + axis])
    return np.asarray(shares[0] * shares[1])


def location(x: float, y: float) -> str:
    """The name of the grid cell that holds the point; a point on a line belongs to the right or lower cell."""
    column, line = (min(2, int(3 * value + EPSILON)) for value in (x, y))
    return LOCATIONS[3 * line + column]


def crop_region(image: Image.Image, x: float, y: float, side: float) -> Image.Image:
    """The part of the original image under the frame's square: a rectangle of whole pixels, at least one."""
    left, right = _pixels(x, side, image.width)
    top, bottom = _pixels(y, side, image.height)
    return image.crop((left, top, right, bottom))


def _pixels(start: float, length: float, size: int) -> tuple[int, int]:
    first = min(round(start * size), size - 1)
    return first, max(first + 1, min(round((start + length) * size), size))
