"""The toy world as training data of a visual tokenizer, and what a linear reader finds in its codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image

from mmgic.toy.models.pairs import make_pictures
from mmgic.toy.world.words import CATEGORIES, COLOURS
from mmgic.vision.folders import load_config, load_tokenizer
from mmgic.vision.learning.probe import bag_of_codes, linear_probe, micro_f1
from mmgic.vision.preprocess import normalise

TOY_ENCODER = Path(__file__).parents[1] / "weights" / "clip"
_AT_ONCE = 64


def write_pictures(folder: Path, seed: int, scenes: int) -> Path:
    """Writes every scene of a world and one crop of each as PNG files of the toy encoder's size; returns `folder`.

    A folder that is complete stays as it is.
    """
    note = folder / f"complete-{seed}-{scenes}"
    if note.exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    size = load_config(TOY_ENCODER).image_size
    for index, picture in enumerate(make_pictures(seed, "train", scenes, size)):
        Image.fromarray(picture.pixels.permute(1, 2, 0).numpy()).save(folder / f"{index:06}.png")
    note.touch()
    return folder


def measure_probe(tokenizer: Path, seed: int, scenes: int = 3000) -> dict[str, float]:
    """F1 of reading categories, colours and pairs of both from the codes of whole scenes of another world."""
    model = load_tokenizer(tokenizer)
    pictures = list(make_pictures(seed, "train", scenes, model.config.image_size))[::2]
    generator = torch.Generator().manual_seed(0)
    codes = []
    for start in range(0, len(pictures), _AT_ONCE):
        pixels = torch.stack([picture.pixels for picture in pictures[start : start + _AT_ONCE]])
        codes += model.encode(normalise(pixels), generator=generator)
    bags = bag_of_codes(codes, model.config.codebook_size)
    names: dict[str, list[set[Any]]] = {
        "category": [{t.category for t in picture.things} for picture in pictures],
        "colour": [{t.colour for t in picture.things} for picture in pictures],
        "both": [{(t.category, t.colour) for t in picture.things} for picture in pictures],
    }
    options: dict[str, list[Any]] = {
        "category": list(CATEGORIES),
        "colour": list(COLOURS),
        "both": [(category, colour) for category in CATEGORIES for colour in COLOURS],
    }
    tested = len(bags) // 5
    scores = {}
    for kind, present in names.items():
        labels = torch.tensor([[option in here for option in options[kind]] for here in present])
        scores[kind] = round(micro_f1(linear_probe(bags, labels, tested), labels[-tested:]), 4)
    return scores
