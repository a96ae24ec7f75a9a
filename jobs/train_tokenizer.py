"""Trains the toy world's visual tokenizer on the frozen image encoder of jobs/train_clip.py.

    python jobs/train_tokenizer.py --clip mmgic/toy/weights/clip --output mmgic/toy/weights/tokenizer

Costs about 10 minutes of one CPU core and 3 GB of memory. Leaves config.json, model.safetensors and metrics.json: the
cosine between rebuilt and true features, the use of the codebook, tokens per picture, and what a linear probe reads
from the codes of unseen scenes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import OrderedDict
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from mmgic.toy.pairs import Picture, make_pictures
from mmgic.toy.scenes import Split
from mmgic.toy.words import CATEGORIES, COLOURS
from mmgic.vision.checkpoint import load_config, read_weights, save_tokenizer
from mmgic.vision.encoder import NORM_EPS
from mmgic.vision.preprocess import normalise
from mmgic.vision.probe import bag_of_codes, linear_probe, micro_f1
from mmgic.vision.tokenizer import VisualTokenizer
from mmgic.vision.training import TokenizerTrainer, TokenizerTraining

WORLD_SEED = 100  # as the encoder's
PROBED_SEED = 101


def load_clip(folder: Path) -> tuple[VisualTokenizer, nn.Sequential]:
    """A tokenizer around the frozen image encoder of `folder`, and CLIP's norm and head."""
    weights = read_weights(folder / "model.safetensors")
    model = VisualTokenizer(load_config(folder))
    ends = ("norm.", "head.")
    model.encoder.load_state_dict({k: v for k, v in weights.items() if not k.startswith(ends)})
    model.encoder.requires_grad_(False)
    out, width = weights["head.weight"].shape
    head = nn.Sequential(OrderedDict(norm=nn.LayerNorm(width, eps=NORM_EPS), head=nn.Linear(width, out)))
    head.load_state_dict({k: v for k, v in weights.items() if k.startswith(ends)})
    return model, head


@torch.inference_mode()
def encode_features(model: VisualTokenizer, pictures: list[Picture]) -> Tensor:
    """Patch features of the frozen encoder, float16 [pictures, N, width]."""
    chunks = [pictures[i : i + 64] for i in range(0, len(pictures), 64)]
    return torch.cat(
        [model.encoder(normalise(torch.stack([p.pixels for p in chunk])))[:, 1:].half() for chunk in chunks]
    )


def load_scenes(seed: int, split: Split, scenes: int, size: int) -> list[Picture]:
    return list(make_pictures(seed, split, scenes, size))


def measure(trainer: TokenizerTrainer, pictures: list[Picture], seed: int) -> dict[str, object]:
    """Figures over unseen pictures, whole scenes and crops."""
    model = trainer.model.eval()
    features = encode_features(model, pictures)
    cosine, codes = trainer.evaluate(features, torch.Generator().manual_seed(seed))
    share = torch.cat(codes).bincount(minlength=model.config.codebook_size).float()
    share /= share.sum()
    lengths = [len(c) for c in codes]
    return {
        "cosine": round(cosine, 4),
        "codes_used": round((share > 0).float().mean().item(), 4),
        "perplexity": round(torch.special.entr(share).sum().exp().item(), 1),
        "tokens_per_picture": {"mean": round(sum(lengths) / len(lengths), 2), "min": min(lengths), "max": max(lengths)},
        "probe_f1": probe(codes, pictures, model.config.codebook_size),
    }


def probe(codes: list[Tensor], pictures: list[Picture], codebook_size: int) -> dict[str, float]:
    """F1 of reading categories, colours and pairs of both from the codes of whole scenes."""
    scenes = range(0, len(pictures), 2)
    bags = bag_of_codes([codes[i] for i in scenes], codebook_size)
    names = {
        "category": [{t.category for t in pictures[i].things} for i in scenes],
        "colour": [{t.colour for t in pictures[i].things} for i in scenes],
        "both": [{(t.category, t.colour) for t in pictures[i].things} for i in scenes],
    }
    options = {
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path, required=True, help="folder that jobs/train_clip.py left")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=4000)
    parser.add_argument("--continuous-steps", type=int, default=TokenizerTraining.continuous_steps)
    parser.add_argument("--quantized-steps", type=int, default=TokenizerTraining.quantized_steps)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    torch.manual_seed(arguments.seed)
    model, head = load_clip(arguments.clip)
    size = model.config.image_size
    features = encode_features(model, load_scenes(WORLD_SEED, "train", arguments.scenes, size))
    print(f"{len(features)} pictures encoded", flush=True)

    settings = TokenizerTraining(continuous_steps=arguments.continuous_steps, quantized_steps=arguments.quantized_steps)
    trainer = TokenizerTrainer(model, head, features, settings, arguments.seed)
    began = time.monotonic()

    def report(stage: str, step: int, figures: dict[str, float]) -> None:
        if (step + 1) % 25 == 0:
            listed = "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
            print(f"{stage} step {step + 1}  {listed}  {time.monotonic() - began:.0f} s", flush=True)

    trainer.train(report)
    save_tokenizer(model, arguments.output)
    metrics = {"command": " ".join(["python", *sys.argv]), "seed": arguments.seed}
    metrics |= {
        "seconds": round(time.monotonic() - began),
        "settings": asdict(settings),
        **measure(trainer, load_scenes(PROBED_SEED, "train", 3000, size), 0),
    }
    (arguments.output / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    print(json.dumps(metrics, indent=2))


if __name__ == "__main__":
    main()
