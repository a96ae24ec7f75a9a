from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmgic.captions.images import ReadImage
from mmgic.captions.synthesis import SynthesizeCaptions
from mmgic.presets import TOY_WEIGHTS
from mmgic.schema import KEPT, row_id
from mmgic.settings import CaptionSettings
from mmgic.toy.world.render import render
from mmgic.toy.world.scenes import make_scene

IMAGES = 14


@pytest.fixture(scope="session")
def toy_captions() -> Callable[..., CaptionSettings]:
    """Makes settings of the shipped toy models, changed as asked."""

    def make(**changes: Any) -> CaptionSettings:
        base = {
            "blip2": str(TOY_WEIGHTS / "blip2"),
            "clip": str(TOY_WEIGHTS / "clip_ranker"),
            "dtype": "float32",
            "images_per_batch": 4,
            "candidates": 5,
            "rounds": 3,
        }
        return CaptionSettings(**{**base, **changes})

    return make


@pytest.fixture(scope="session")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Evaluation scenes of another world than the one the toy models were trained on, as rows without captions."""
    folder = tmp_path_factory.mktemp("images")
    made = []
    for i in range(IMAGES):
        path = folder / f"{i}.png"
        render(make_scene(7, "eval", i)).save(path)
        row = {"row_id": row_id("toy", str(i)), "source": "toy", "image_id": str(i), "image_path": str(path)}
        made.append({**row, "caption": "", "candidates": [], **KEPT})
    return made


@pytest.fixture(scope="session")
def run() -> Callable[..., Any]:
    """A function of rows that does what the stage does with them: prepare, then transform."""

    def make(settings: CaptionSettings, column: str = "caption", seed: int = 0) -> Callable[..., Any]:
        read, synthesize = ReadImage(settings, column), SynthesizeCaptions(settings, column, seed)
        process: Any = lambda rows: synthesize([{**row, "prepared": read(row)} for row in rows])  # noqa: E731
        process.synthesize = synthesize
        return process

    return make


@pytest.fixture(scope="session")
def images(rows: list[dict[str, Any]]) -> list[Path]:
    return [Path(row["image_path"]) for row in rows]
