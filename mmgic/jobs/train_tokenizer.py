"""Trains a visual tokenizer on a frozen image encoder with Ray Train, and with --pixels a pixel decoder on its codes.

    mmgic train-tokenizer                                            # on the toy world's images: 10 minutes on 2 cores
    ray job submit --working-dir . -- python jobs/train_tokenizer.py --pixels --preset mmgic-7b \\
        --set output=/shared/tokenizer --set tokenizer_training.images=DIR_OR_TABLE --set cluster.training_workers=8
    mmgic train-tokenizer --preset mmgic-7b --set tokenizer_training.start=OLD \\
        --set tokenizer_training.continuous_steps=0                  # goes on from a tokenizer, with its codebook

Images are those of a folder at any depth, or of a finished data stage's table. Interrupted at any point, the same
command goes on. Leaves <output>/training/tokenizer/model (and training/pixels/model), which `mmgic vision reconstruct`
draws with, and metrics.jsonl and curves.png beside it: reconstruction cosine, codebook use, perplexity, tokens per
image. --lavit DIR writes both under LaVIT's file and key names too.
"""

import argparse
import json
from pathlib import Path

from mmgic.cli import add_settings_flags
from mmgic.settings import Settings


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pixels", action="store_true", help="then train a pixel decoder, too (pixel_training)")
    parser.add_argument("--lavit", type=Path, metavar="DIR", help="also write the result under LaVIT's names")
    add_settings_flags(parser)


def main(settings: Settings, flags: argparse.Namespace) -> None:
    from contextlib import nullcontext

    from mmgic.analysis.report import report_on
    from mmgic.checks.run import refuse_problems
    from mmgic.stages.session import ray_session
    from mmgic.toy.datasets.write import ensure_world
    from mmgic.training.recipes.pixel_decoder import PIXEL_DECODER, check_ahead
    from mmgic.training.recipes.visual_tokenizer import TOKENIZER
    from mmgic.training.run import run
    from mmgic.vision.lavit.exporting import save_lavit

    if flags.pixels:
        check_ahead(settings)  # not only after hours of the tokenizer's training
    ensure_world(settings)
    refuse_problems(settings, ["tokenizer"])
    with ray_session() if settings.cluster.training_workers else nullcontext():
        tokenizer = run(TOKENIZER, settings)
        pixels = run(PIXEL_DECODER, settings).model if flags.pixels else None
    if flags.lavit:
        for note in save_lavit(tokenizer.model, flags.lavit, Path(settings.tokenizer_training.encoder), pixels):
            print(note)
    print(json.dumps(tokenizer.figures, indent=2))
    print(f"tokenizer: {tokenizer.model}")
    if pixels:
        print(f"pixel decoder: {pixels}")
    report_on(settings)
