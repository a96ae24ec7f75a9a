"""Pictures of the toy world with what is in them and where, for training its frozen vision models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image
from torch import Tensor

from mmgic.regions import crop_region, intersection_over_area, squares
from mmgic.schema import record_generator
from mmgic.toy.world.render import render
from mmgic.toy.world.scenes import Scene, Split, Thing, make_scene
from mmgic.toy.world.text import captions, noun_phrase
from mmgic.vision.preprocess import squash

MERGE_IOA = 0.8  # as RegionSettings: what counts as inside a crop


@dataclass(frozen=True)
class ToyPicture:
    """A whole scene or the crop of one region."""

    pixels: Tensor  # uint8 [3, size, size]
    caption: str
    things: tuple[Thing, ...]
    boxes: tuple[tuple[float, float, float, float], ...]  # x, y, w, h of each thing, fractions of the picture


def make_pictures(seed: int, split: Split, scenes: int, size: int) -> Iterator[ToyPicture]:
    """Every scene of a world as a whole, followed by the crop around one of its things."""
    for index in range(scenes):
        scene = make_scene(seed, split, index)
        image = render(scene)
        rng = record_generator(seed, "toy pair", split, str(index))
        boxes = np.array([thing.box for thing in scene.things]) / ([scene.width, scene.height] * 2)
        caption = captions(scene, rng, 1)[0]
        yield ToyPicture(squash(image, size), caption, scene.things, tuple(map(tuple, boxes.tolist())))
        yield crop(scene, image, boxes, int(rng.integers(len(boxes))), size)


def crop(scene: Scene, image: Image.Image, boxes: np.ndarray, center: int, size: int) -> ToyPicture:
    """The square region around one thing, with the things that lie in it; `boxes` are fractions of the frame [N, 4]."""
    corners, sides = squares(boxes)
    inside = intersection_over_area(corners, sides, boxes)[center] >= MERGE_IOA
    inside[center] = True
    (x, y), side = corners[center].tolist(), float(sides[center])
    things = tuple(thing for thing, member in zip(scene.things, inside, strict=True) if member)
    own = (boxes[inside] - [x, y, 0, 0]) / side
    caption = " and ".join(noun_phrase(thing, details=True) for thing in things)
    return ToyPicture(squash(crop_region(image, x, y, side), size), caption, things, tuple(map(tuple, own.tolist())))
