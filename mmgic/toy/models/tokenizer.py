"""The toy world's visual tokenizer, and what a linear reader finds in its codes."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from mmgic.presets import preset
from mmgic.settings import ClusterSettings
from mmgic.settings.fields import Group, number, path
from mmgic.toy.models.pairs import make_pictures
from mmgic.toy.world.words import CATEGORIES, COLOURS
from mmgic.training.recipes.visual_tokenizer import TOKENIZER
from mmgic.training.run import run as train
from mmgic.vision.folders import load_config, load_tokenizer
from mmgic.vision.learning.probe import bag_of_codes, linear_probe, micro_f1
from mmgic.vision.preprocess import normalise

WORLD_SEED = 100  # as the encoder's
_AT_ONCE = 64
_DEFAULTS = preset("toy").tokenizer_training


@dataclass(frozen=True)
class ToyTokenizerRun(Group):
    """What is trained and how; the rest is as tokenizer_training of the preset toy."""

    start: str = path()  # folder of a tokenizer to go on from
    scenes: int = number(4000, 1)  # two pictures each
    continuous_steps: int = number(_DEFAULTS.continuous_steps, 0)
    quantized_steps: int = number(_DEFAULTS.quantized_steps, 0)
    decoder_steps: int = number(_DEFAULTS.decoder_steps, 0)
    seed: int = number(0, 0)


def make_tokenizer(run: ToyTokenizerRun, output: Path) -> dict[str, object]:
    """Trains on scenes and crops of the toy world, in `<output>_run`, where an interrupted run goes on. Leaves a
    tokenizer's folder; the scores are of held-out pictures, and `measure_probe`'s."""
    folder = output.with_name(f"{output.name}_run")
    chosen = {name: getattr(run, name) for name in ("start", "continuous_steps", "quantized_steps", "decoder_steps")}
    settings = replace(
        preset("toy"),
        output=str(folder),
        seed=run.seed,
        tokenizer_training=replace(
            _DEFAULTS, images=str(write_pictures(folder / "pictures", WORLD_SEED, run.scenes)), **chosen
        ),
        cluster=ClusterSettings(training_workers=0, training_gpus=0),
    )
    result = train(TOKENIZER, settings)
    shutil.copytree(result.model, output, dirs_exist_ok=True)
    return {**result.figures, "probe_f1": measure_probe(output, WORLD_SEED + 1)}


def write_pictures(folder: Path, seed: int, scenes: int) -> Path:
    """Writes every scene of a world and one crop of each as PNG files of the toy encoder's size; returns `folder`.

    A folder that is complete stays as it is.
    """
    note = folder / f"complete-{seed}-{scenes}"
    if note.exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    size = load_config(_DEFAULTS.encoder).image_size
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
