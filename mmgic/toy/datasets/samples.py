"""What the writers of the toy world share: its samples, and how files are written."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmgic.schema import record_generator
from mmgic.toy.world import text
from mmgic.toy.world.render import render
from mmgic.toy.world.scenes import Scene, Split, enlarged, make_scene


@dataclass(frozen=True)
class CaptionedScene:
    """A drawn scene. `captions` are all true of it, the first in the usual wording."""

    number: int  # of the scene in its split
    scene: Scene
    captions: list[str]

    @property
    def image_id(self) -> int:
        return self.number + 1

    def jpeg(self) -> bytes:
        return jpeg(self.scene)


class World:
    """The scenes of one seed, drawn `scale` times as large. `progress` is called once for each sample that is taken."""

    def __init__(self, seed: int, progress: Callable[[], None] = lambda: None, scale: int = 1) -> None:
        self.seed = seed
        self._progress = progress
        self._scale = scale

    def samples(self, numbers: Iterable[int], split: Split = "train") -> Iterator[CaptionedScene]:
        """The scenes `numbers` of a split: two or three captions each, three to five if it is "eval"."""
        low, high = (2, 3) if split == "train" else (3, 5)
        for number in numbers:
            scene = enlarged(make_scene(self.seed, split, number), self._scale)
            rng = record_generator(self.seed, "toy captions", split, str(number))
            yield CaptionedScene(number, scene, text.captions(scene, rng, int(rng.integers(low, high + 1))))
            self._progress()

    def generator(self, purpose: str, number: int) -> np.random.Generator:
        """The generator of one training scene's faults and choices in one dataset, whose name is `purpose`."""
        return record_generator(self.seed, f"toy {purpose}", "train", str(number))


def jpeg(scene: Scene) -> bytes:
    file = io.BytesIO()
    render(scene).save(file, "JPEG", quality=95, subsampling=0)
    return file.getvalue()


def write_bytes(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def write_json(path: Path, content: Any) -> None:
    write_bytes(path, json.dumps(content).encode())


def write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """JSON lines."""
    write_bytes(path, "".join(f"{json.dumps(row)}\n" for row in rows).encode())
