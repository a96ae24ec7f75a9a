"""Trains a pixel decoder on the codes of a finished visual tokenizer, as a Ray Train job.

    python jobs/train_pixel_decoder.py --output output/pixels --images DIR_OR_TABLE --start DIR --workers 8 --gpus 1
        --tokenizer output/tokenizer/tokenizer

--start is a pixel decoder's folder (one that `mmgic vision import` wrote, or the toy one): its UNet, autoencoder and
scheduler are what training begins with. Settings are those of PixelTraining, such as --set steps=100000; a lower
micro_batch needs less memory for the same steps. Interrupted at any point, the same command goes on. Leaves
<output>/pixels, which `mmgic vision reconstruct` draws with, and figures.jsonl. --lavit DIR writes tokenizer and
feature decoder under LaVIT's file and key names; --encoder names the folder of the frozen encoder, whose classifier end
then comes along.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from train_tokenizer import changed_settings

from mmgic.cli import report_errors
from mmgic.settings import PixelTraining, merge


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", required=True)
    parser.add_argument("--images", required=True, help="folder of images, or a finished table")
    parser.add_argument("--tokenizer", required=True, help="folder of the trained visual tokenizer")
    parser.add_argument("--start", required=True, help="folder of the pixel decoder to begin with")
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML file of PixelTraining's settings")
    parser.add_argument("--set", action="append", default=[], metavar="a=value", help="replace one setting; repeatable")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="Ray Train workers; 0 trains in this process")
    parser.add_argument("--gpus", type=float, default=0.0, help="of each worker")
    parser.add_argument("--lavit", type=Path, metavar="DIR", help="also write the result under LaVIT's names")
    parser.add_argument("--encoder", type=Path, help="with --lavit: folder of the encoder that the tokenizer has")
    arguments = parser.parse_args()

    def work() -> None:
        from contextlib import nullcontext

        from mmgic.stages.session import ray_session
        from mmgic.training.recipes.pixel_decoder import PixelJob, run
        from mmgic.vision.lavit.exporting import save_lavit

        names = ("output", "images", "tokenizer", "start", "seed", "workers", "gpus")
        settings = merge(PixelTraining(), changed_settings(arguments))
        job = PixelJob(training=settings, **{name: getattr(arguments, name) for name in names})
        with ray_session() if job.workers else nullcontext():
            folder = run(job)
        if arguments.lavit:
            for note in save_lavit(Path(job.tokenizer), arguments.lavit, arguments.encoder, folder):
                print(note)
        print(f"pixel decoder: {folder}")

    raise SystemExit(report_errors(work))


if __name__ == "__main__":
    main()
