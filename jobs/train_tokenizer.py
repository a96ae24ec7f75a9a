"""Trains a visual tokenizer on a frozen image encoder, as a Ray Train job.

    python jobs/train_tokenizer.py --output output/tokenizer --images DIR_OR_TABLE --encoder DIR --workers 8 --gpus 1
    python jobs/train_tokenizer.py --output output/tokenizer --toy          # the toy world's, minutes on 2 cores
    python jobs/train_tokenizer.py --output output/mine --images DIR --encoder OLD --start OLD --set continuous_steps=0

The last line goes on from a tokenizer, with its codebook, on other images. Images are those of a folder at any depth,
or of a finished data stage's table. Settings are those of TokenizerTraining, such as --set batch_size=2048; --config
takes a YAML file of them. Interrupted at any point, the same command goes on.

Leaves <output>/tokenizer (config.json, model.safetensors, metrics.json and, of LaVIT's decoder, decoder.safetensors),
figures.jsonl and curves.png: reconstruction cosine, codebook use, perplexity, tokens per image. --lavit DIR writes the
tokenizer under LaVIT's file and key names too (its decoder's file comes from train_pixel_decoder.py --lavit). The toy
run also measures what a linear probe reads from the codes of unseen scenes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from mmgic.cli import report_errors
from mmgic.settings import SettingsError, TokenizerTraining, merge

TOY_SEED = 100  # of the world that the toy encoder learned on


def flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--images", help="folder of images, or a finished table with a column image_path")
    parser.add_argument("--encoder", help="folder of the frozen encoder: config.json and model.safetensors, or LaVIT's")
    parser.add_argument("--start", default="", help="folder of a tokenizer to go on from (default: new weights)")
    parser.add_argument("--toy", action="store_true", help="toy sizes, on pictures that are rendered first")
    parser.add_argument("--scenes", type=int, default=4000, help="of the toy world; two pictures each")
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML file of TokenizerTraining's settings")
    parser.add_argument("--set", action="append", default=[], metavar="a=value", help="replace one setting; repeatable")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", action="store_true", help="encode every image once; needs disk, not for millions")
    parser.add_argument("--workers", type=int, default=1, help="Ray Train workers; 0 trains in this process")
    parser.add_argument("--gpus", type=float, default=0.0, help="of each worker")
    parser.add_argument("--lavit", type=Path, metavar="DIR", help="also write the result under LaVIT's names")
    return parser.parse_args()


def changed_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """The settings that --config and --set name. Raises SettingsError."""
    changes: dict[str, Any] = {}
    try:
        if arguments.config:
            loaded = yaml.safe_load(arguments.config.read_text(encoding="utf-8"))
            if not isinstance(loaded, Mapping):
                raise SettingsError(f"{arguments.config} holds no settings; write lines such as 'batch_size: 512'")
            changes.update(loaded)
        for override in arguments.set:
            key, separator, text = override.partition("=")
            if not separator:
                raise SettingsError(f"'{override}' is no override; write --set {override or 'a'}=value")
            changes[key.strip()] = yaml.safe_load(text)
    except (OSError, yaml.YAMLError) as error:
        raise SettingsError(f"the settings cannot be read: {error}") from None
    return changes


def main() -> None:
    arguments = flags()

    def work() -> None:
        from contextlib import nullcontext

        from mmgic.stages.session import ray_session
        from mmgic.toy.models.probe import TOY_ENCODER, measure_probe, write_pictures
        from mmgic.training.recipes.visual_tokenizer import TokenizerJob, run
        from mmgic.vision.lavit.exporting import save_lavit
        from mmgic.vision.learning.objective import TOY_TRAINING

        if not arguments.toy and not (arguments.images and arguments.encoder):
            raise SettingsError("name --images and --encoder, or take the toy world's with --toy")
        settings = merge(TOY_TRAINING if arguments.toy else TokenizerTraining(), changed_settings(arguments))
        images, encoder = arguments.images, arguments.encoder or str(TOY_ENCODER)
        if not images:
            images = str(write_pictures(arguments.output / "pictures", TOY_SEED, arguments.scenes))
        job = TokenizerJob(
            output=str(arguments.output),
            images=images,
            encoder=encoder,
            start=arguments.start,
            training=settings,
            seed=arguments.seed,
            cache=arguments.cache or arguments.toy,
            workers=arguments.workers,
            gpus=arguments.gpus,
        )
        with ray_session() if job.workers else nullcontext():
            result = run(job)
        figures = dict(result.figures)
        if arguments.toy:
            figures["probe_f1"] = measure_probe(Path(result.folder), TOY_SEED + 1)
            path = Path(result.folder) / "metrics.json"
            metrics = json.loads(path.read_text(encoding="utf-8")) | figures
            path.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
        if arguments.lavit:
            for note in save_lavit(Path(result.folder), arguments.lavit, Path(encoder)):
                print(note)
        print(json.dumps(figures, indent=2))
        print(f"tokenizer: {result.folder}")

    raise SystemExit(report_errors(work))


if __name__ == "__main__":
    main()
