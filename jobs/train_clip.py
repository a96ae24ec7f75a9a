"""Trains the toy world's CLIP, whose image encoder the toy visual tokenizer is built on.

    python jobs/train_clip.py --output FIRST
    python jobs/train_clip.py --start FIRST --output mmgic/toy/weights/clip --steps 800 --lr 8e-4 --seed 1

Each costs about 5 minutes of two CPU cores and 2 GB of memory. Leaves config.json, model.safetensors (the image encoder
with its norm and head, under EVA-CLIP's names) and metrics.json: of things in unseen scenes, how many get the right
category and colour among all pairs of both.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from mmgic.toy.models.clip import Clip, Pairs, split_words, train_clip
from mmgic.toy.models.pairs import make_pictures
from mmgic.toy.world.scenes import Split, Thing
from mmgic.toy.world.text import noun_phrase
from mmgic.toy.world.words import CATEGORIES, COLOURS
from mmgic.vision.folders import read_weights
from mmgic.vision.network.config import VisionConfig
from mmgic.vision.preprocess import normalise

ENDS = ("norm.", "head.")  # of the image encoder; not part of a visual tokenizer
WORLD_SEED = 100  # not the demo's world

TOY_VISION = VisionConfig(
    image_size=64,
    patch_size=8,
    width=128,
    depth=5,
    num_heads=4,
    mlp_hidden=384,
    merger_depth=2,
    merger_heads=4,
    codebook_size=512,
    codebook_dim=16,
)


def make_pairs(split: Split, scenes: int) -> tuple[Pairs, list[Thing]]:
    """Scenes and crops with captions and phrases, and the thing behind each phrase."""
    pictures = list(make_pictures(WORLD_SEED, split, scenes, TOY_VISION.image_size))
    things = [thing for picture in pictures for thing in picture.things]
    return Pairs(
        pixels=torch.stack([picture.pixels for picture in pictures]),
        captions=[picture.caption for picture in pictures],
        boxes=torch.tensor([box for picture in pictures for box in picture.boxes]),
        phrases=[noun_phrase(thing, details=True) for thing in things],
        owners=torch.tensor([i for i, picture in enumerate(pictures) for _ in picture.things]),
    ), things


@torch.inference_mode()
def zero_shot(model: Clip, pairs: Pairs, things: list[Thing]) -> dict[str, float]:
    """Share of boxes whose category, colour and both are those of the nearest of all plain phrases."""
    options = [Thing(category, colour) for category in CATEGORIES for colour in COLOURS]
    texts = model.text_embeddings([noun_phrase(option, details=False) for option in options])
    parts, _ = model.box_embeddings(model.image_embeddings(normalise(pairs.pixels)), pairs.boxes, pairs.owners)
    found = [options[i] for i in (parts @ texts.T).argmax(dim=1).tolist()]
    both = list(zip(found, things, strict=True))
    right = {
        "category": [a.category == b.category for a, b in both],
        "colour": [a.colour == b.colour for a, b in both],
        "both": [(a.category, a.colour) == (b.category, b.colour) for a, b in both],
    }
    return {name: round(sum(hits) / len(hits), 4) for name, hits in right.items()}


def save_tower(model: Clip, folder: Path) -> None:
    """Image encoder, norm and head under EVA-CLIP's names; the text encoder is of no further use."""
    ends = {k: v for k, v in model.state_dict().items() if k.startswith(ENDS)}
    save_file(model.encoder.state_dict() | ends, folder / "model.safetensors")


def load_tower(folder: Path) -> dict[str, Tensor]:
    """What `save_tower` wrote, under the names of a Clip."""
    weights = read_weights(folder / "model.safetensors")
    return {k if k.startswith(ENDS) else f"encoder.{k}": v for k, v in weights.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--start", type=Path, help="folder of an earlier run, whose image encoder goes on training")
    parser.add_argument("--scenes", type=int, default=8000)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    torch.manual_seed(arguments.seed)
    pairs, _ = make_pairs("train", arguments.scenes)
    words = sorted({word for text in (*pairs.captions, *pairs.phrases) for word in split_words(text)})
    model = Clip(TOY_VISION, words)
    if arguments.start:
        model.load_state_dict(load_tower(arguments.start), strict=False)
    print(f"{len(pairs.pixels)} pictures, {len(pairs.phrases)} phrases, {len(words)} words", flush=True)
    began = time.monotonic()

    def report(step: int, loss: float) -> None:
        if (step + 1) % 50 == 0:
            print(
                f"step {step + 1} of {arguments.steps}  loss {loss:.3f}  {time.monotonic() - began:.0f} s", flush=True
            )

    train_clip(
        model,
        pairs,
        steps=arguments.steps,
        batch=arguments.batch,
        lr=arguments.lr,
        seed=arguments.seed,
        report=report,
    )
    model.eval()
    metrics = {
        "command": " ".join(["python", *sys.argv]),
        "seed": arguments.seed,
        "seconds": round(time.monotonic() - began),
        "zero_shot": zero_shot(model, *make_pairs("eval", 300)),
    }
    arguments.output.mkdir(parents=True, exist_ok=True)
    save_tower(model, arguments.output)
    (arguments.output / "config.json").write_text(json.dumps(asdict(TOY_VISION), indent=2) + "\n")
    (arguments.output / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    print(json.dumps(metrics, indent=2))


if __name__ == "__main__":
    main()
