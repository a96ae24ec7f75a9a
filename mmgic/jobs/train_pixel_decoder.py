"""Trains a pixel decoder on the codes of a finished visual tokenizer with Ray Train.

    mmgic train-pixel-decoder --set pixel_training.tokenizer=mmgic/toy/weights/tokenizer    # toy: half an hour
    ray job submit --working-dir . -- python jobs/train_pixel_decoder.py --preset mmgic-7b \\
        --set output=/shared/pixels --set pixel_training.tokenizer=DIR --set pixel_training.images=DIR_OR_TABLE

UNet, autoencoder and scheduler begin as those of pixel_training.start, a folder that `mmgic vision import` wrote or the
toy one. A lower pixel_training.micro_batch needs less memory for the same steps. Interrupted at any point, the same
command goes on. Leaves <output>/training/pixels/model, which `mmgic vision reconstruct` draws with. --lavit DIR writes
tokenizer and feature decoder under LaVIT's file and key names, with the classifier end of tokenizer_training.encoder.
"""

import argparse
from pathlib import Path

from mmgic.cli import add_settings_flags
from mmgic.settings import Settings


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lavit", type=Path, metavar="DIR", help="also write the result under LaVIT's names")
    add_settings_flags(parser)


def main(settings: Settings, flags: argparse.Namespace) -> None:
    from contextlib import nullcontext

    from mmgic.analysis.report import report_on
    from mmgic.checks.run import refuse_problems
    from mmgic.stages.session import ray_session
    from mmgic.toy.datasets.write import ensure_world
    from mmgic.training.recipes.pixel_decoder import PIXEL_DECODER, tokenizer_folder
    from mmgic.training.run import run
    from mmgic.vision.lavit.exporting import save_lavit

    ensure_world(settings)
    refuse_problems(settings, ["pixels"])
    with ray_session() if settings.cluster.training_workers else nullcontext():
        pixels = run(PIXEL_DECODER, settings).model
    if flags.lavit:
        tokenizer, encoder = Path(tokenizer_folder(settings)), Path(settings.tokenizer_training.encoder)
        for note in save_lavit(tokenizer, flags.lavit, encoder, pixels):
            print(note)
    print(f"pixel decoder: {pixels}")
    report_on(settings)
