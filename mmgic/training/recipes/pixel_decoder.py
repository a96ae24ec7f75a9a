"""Training a pixel decoder as a Ray Train job, after its tokenizer's."""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import ray.train
import ray.train.torch
import torch

from mmgic.errors import InputError
from mmgic.settings import PixelTraining
from mmgic.training.checkpoints import (
    Progress,
    checkpoints,
    load_moments,
    load_parameters,
    load_progress,
    save_checkpoint,
)
from mmgic.training.vision_job import claim_run, fit
from mmgic.vision.folders import load_config, load_tokenizer
from mmgic.vision.learning.curves import FiguresLog
from mmgic.vision.learning.diffusion import load_trunk
from mmgic.vision.learning.features import list_images
from mmgic.vision.learning.learner import train
from mmgic.vision.learning.pixel_learner import Pictures, PixelFigures, PixelLearner
from mmgic.vision.network.config import VisionConfig
from mmgic.vision.network.feature_decoder import DecoderConfig
from mmgic.vision.pixels.pixel_decoder import load_pixel_decoder, save_pixel_decoder

_DONE = "pixels/config.json"


@dataclass(frozen=True)
class PixelJob:
    """One run. Its folder `output` must be seen by every worker under the same path."""

    output: str
    images: str  # a folder of images or a finished table that names them
    tokenizer: str  # folder of the trained tokenizer, which stays as it is
    start: str  # a pixel decoder's folder: decoder, UNet, autoencoder and scheduler to begin with
    training: PixelTraining = field(default_factory=PixelTraining)
    seed: int = 0
    workers: int = 1  # 0: in this process, without a cluster
    gpus: float = 0.0  # of each worker
    max_failures: int = 3


def run(job: PixelJob) -> Path:
    """Trains feature decoder and UNet together, from `start` and the feature decoder that the tokenizer's training left
    in its folder, if it did, and returns `<output>/pixels`, a folder that `mmgic vision reconstruct`
    draws with; figures.jsonl and checkpoints lie beside it. Killed at any point, the same call goes on from the newest
    checkpoint and makes the same steps. A finished run returns at once.

    Raises SettingsError or InputError for what cannot be trained.
    """
    named = (job.output, job.images, job.tokenizer, job.start)
    output, images, tokenizer, begun = (str(Path(path).resolve()) for path in named)
    job = replace(job, output=output, images=images, tokenizer=tokenizer, start=begun)
    folder = Path(job.output)
    if not (folder / _DONE).exists():
        check_start(job.start, load_config(job.tokenizer), job.tokenizer)
    claim_run(folder, asdict(job), list_images(job.images))
    if not (folder / _DONE).exists():
        fit(_train_worker, job)
    return folder / "pixels"


def check_start(start: str, config: VisionConfig, tokenizer: str, trunk: DecoderConfig | None = None) -> None:
    """Raises InputError where the pixel decoder `start` cannot go on with the codes of a tokenizer of `config`, which
    is named `tokenizer`, or with the feature decoder `trunk` that will be trained with it."""
    pixels = load_pixel_decoder(start, "cpu")
    codebook = (config.codebook_size, config.codebook_dim)
    if (pixels.config.decoder.patches, pixels.codebook.shape) != (config.patches, codebook):
        raise InputError(f"the pixel decoder {start} reads codes of other sizes than {tokenizer} makes")
    height, width = pixels.config.sizes[0]
    if height != width:
        raise InputError(f"{start} draws {height}x{width} first; training takes a square first size")
    for name in ("depth", "width", "num_heads", "mlp_hidden", "feature_dim") if trunk else ():
        own, trained = getattr(pixels.config.decoder, name), getattr(trunk, name)
        if own != trained:
            raise InputError(
                f"the feature decoder of {start} has {name} {own}, the one to be trained {trained}; give a pixel "
                "decoder of its sizes (decoder_depth sets the depth)"
            )


def _train_worker(config: dict[str, PixelJob]) -> None:
    """What each Ray Train worker runs."""
    logging.getLogger("ray.train").setLevel(logging.WARNING)  # it would repeat what figures.jsonl holds
    job = config["job"]
    settings, folder = job.training, Path(job.output)
    device = ray.train.torch.get_device() if job.gpus else torch.device("cpu")
    pixels, tokenizer = load_pixel_decoder(job.start, "cpu"), load_tokenizer(job.tokenizer, settings.dtype)
    # the codes' rows are the tokenizer's, whatever the decoder began with
    pixels.codebook = tokenizer.quantize.embedding.weight.detach().clone()
    load_trunk(pixels.decoder, Path(job.tokenizer))
    data = Pictures(
        list_images(job.images), tokenizer.config.image_size, pixels.config.sizes[0][0], ThreadPoolExecutor(4)
    )
    learner = PixelLearner(pixels, tokenizer, data, settings, job.seed, device)
    start = 0
    if newest := checkpoints(folder)[-1:]:
        start = load_progress(newest[0]).step
        load_parameters(newest[0], learner.trained)
        learner.resume(start, load_moments(newest[0], learner.trained))
    log = FiguresLog(folder, start, settings.steps) if learner.rank == 0 else None
    latest: dict[str, float] = {}

    def on_step(figures: PixelFigures) -> None:
        latest.update(asdict(figures))
        if log:
            log.write(figures)

    def on_checkpoint(step: int) -> None:
        if log:
            done = Progress(step=step, steps=settings.steps, tokens=0)
            save_checkpoint(folder, done, learner.parameters(), learner.moments(), settings.keep_checkpoints)
        ray.train.report(latest)

    train(learner, start, on_step, on_checkpoint)
    if log:
        log.close()
        unfinished = folder / "pixels.unfinished"
        save_pixel_decoder(learner.finish(), unfinished)
        (unfinished / "metrics.json").write_text(
            json.dumps({"seed": job.seed, "settings": asdict(settings), **latest}, indent=2) + "\n", encoding="utf-8"
        )
        unfinished.rename(folder / "pixels")
