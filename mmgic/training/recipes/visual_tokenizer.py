"""Training a visual tokenizer as a Ray Train job. Like `pretrain`, a run goes on where it was interrupted."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import ray.train
import ray.train.torch
import torch
import torch.distributed as dist
from safetensors.torch import save_file

from mmgic.errors import InputError
from mmgic.settings import SettingsError, TokenizerTraining
from mmgic.training.checkpoints import (
    Progress,
    checkpoints,
    load_moments,
    load_parameters,
    load_progress,
    save_checkpoint,
)
from mmgic.training.vision_job import claim_run, fit
from mmgic.vision.folders import load_config, load_tokenizer, save_tokenizer
from mmgic.vision.learning.curves import FiguresLog, plot_curves
from mmgic.vision.learning.features import CachedFeatures, EncodedImages, Features, cache_features, list_images
from mmgic.vision.learning.frozen import FrozenEncoder, load_frozen
from mmgic.vision.learning.learner import Learner, StepFigures, train
from mmgic.vision.learning.objective import (
    Objective,
    RanksDecoder,
    make_feature_decoder,
    start_weights,
)
from mmgic.vision.network.tokenizer import VisualTokenizer

RESULT_FILE = "result.json"


@dataclass(frozen=True)
class TokenizerJob:
    """One run of tokenizer training. Its folder `output` must be seen by every worker under the same path."""

    output: str
    images: str  # a folder of images or a finished table that names them
    encoder: str  # folder of the frozen encoder: a tokenizer's, or one that jobs/train_clip.py left
    start: str = ""  # folder of a tokenizer that training goes on from; it has the same encoder
    training: TokenizerTraining = field(default_factory=TokenizerTraining)
    seed: int = 0
    held_out: int = 1000  # images that the figures of the result are measured on, a tenth of all at most
    cache: bool = False  # encode every image once, into `<output>/features.npy` (2 bytes a number), not at every step
    workers: int = 1  # 0: in this process, without a cluster
    gpus: float = 0.0  # of each worker
    max_failures: int = 3


@dataclass(frozen=True)
class TokenizerResult:
    """A finished run. Figures are of the held-out images."""

    folder: str  # of the trained tokenizer
    steps: int
    figures: dict[str, object]


def run(job: TokenizerJob) -> TokenizerResult:
    """Trains, and returns the result, which is also in `<output>/result.json`.

    Leaves `<output>/tokenizer` (with decoder.safetensors), figures.jsonl with a line per step, curves.png and
    checkpoints. Killed at any point, the same call goes on from the newest checkpoint and makes the same steps, on any
    number of workers that divides the batch. A finished run returns at once.

    Raises SettingsError or InputError for what cannot be trained.
    """
    output, images, encoder = (str(Path(path).resolve()) for path in (job.output, job.images, job.encoder))
    start = job.start and str(Path(job.start).resolve())
    job = replace(job, output=output, images=images, encoder=encoder, start=start)
    folder = Path(job.output)
    if min(job.training.continuous_steps, job.training.quantized_steps) < 1 and not job.start:
        raise SettingsError("continuous_steps and quantized_steps must be at least 1, unless a start is given")
    if job.training.decoder_steps and job.training.decoder == "lavit":
        raise SettingsError("decoder_steps are for another decoder than lavit, which is trained all along")
    frozen = load_frozen(job.encoder)
    read_target(frozen, job)  # refuses unusable input here, before workers are started for it
    if job.start and load_config(job.start) != frozen.model.config:
        raise InputError(f"{job.start} and {job.encoder} are of different sizes; training goes on with one encoder")
    claim_run(folder, asdict(job), list_images(job.images))
    if not (folder / RESULT_FILE).exists():
        fit(_train_worker, job)
    return _read_result(folder / RESULT_FILE)


def read_target(frozen: FrozenEncoder, job: TokenizerJob) -> torch.nn.Module:
    """What makes of features what is rebuilt. Raises InputError where that is a head that the encoder lacks."""
    if job.training.target == "features":
        return torch.nn.Identity()
    if frozen.head is None:
        raise InputError(f"{job.encoder} has no norm and head to read targets with; take target=features")
    return frozen.head


def _read_result(path: Path) -> TokenizerResult:
    return TokenizerResult(**json.loads(path.read_text(encoding="utf-8")))


def _train_worker(config: dict[str, TokenizerJob]) -> None:
    """What each Ray Train worker runs."""
    logging.getLogger("ray.train").setLevel(logging.WARNING)  # it would repeat what figures.jsonl holds
    job = config["job"]
    settings, folder = job.training, Path(job.output)
    device = ray.train.torch.get_device() if job.gpus else torch.device("cpu")
    torch.manual_seed(job.seed)  # every worker starts from the same weights
    frozen = load_frozen(job.encoder)
    model, head = frozen.model, read_target(frozen, job)
    if job.start:
        model.load_state_dict(load_tokenizer(job.start).state_dict())
    else:
        start_weights(model, settings.keep_ratio)
    model.encoder.to(device)
    data, held_out = _open_data(job, frozen.model, device)
    target_dim = head(torch.zeros(1, model.config.width)).shape[-1]
    objective = Objective(model, head, make_feature_decoder(model.config, settings, target_dim), settings)
    learner = Learner(objective, data, job.seed, device)
    start = 0
    if newest := checkpoints(folder)[-1:]:
        start = load_progress(newest[0]).step
        load_parameters(newest[0], learner.parameters())  # copies into the tensors themselves
        learner.enter(settings.stage(start - 1)[0])
        learner.resume(start, load_moments(newest[0], learner.trained))
    else:
        learner.standardise()
    log = FiguresLog(folder, start, settings.steps) if learner.rank == 0 else None
    latest: dict[str, object] = {}

    def on_step(figures: StepFigures) -> None:
        latest.update(asdict(figures))
        if log:
            log.write(figures)

    def on_checkpoint(step: int) -> None:
        if log:
            done = Progress(step=step, steps=settings.steps, tokens=0)
            save_checkpoint(folder, done, learner.parameters(), learner.moments(), settings.keep_checkpoints)
        ray.train.report(latest)

    train(learner, start, on_step, on_checkpoint)
    figures = learner.evaluate(held_out)
    if log:
        log.close()
        _write_result(job, learner, model, figures)


def _open_data(job: TokenizerJob, model: VisualTokenizer, device: torch.device) -> tuple[Features, Features]:
    """The images that are trained on, and those that are held out."""
    paths = list_images(job.images)
    held_out = min(job.held_out, max(1, len(paths) // 10))
    if len(paths) <= held_out:
        raise InputError(f"{job.images} holds {len(paths)} image; training needs at least 2")
    half = job.training.dtype == "bfloat16"

    def encoded(part: slice) -> EncodedImages:
        return EncodedImages(paths[part], model.encoder, model.config.image_size, half)

    parts = slice(held_out, None), slice(0, held_out)
    if not job.cache:
        return encoded(parts[0]), encoded(parts[1])
    path, note = Path(job.output) / "features.npy", Path(job.output) / "features.done"
    rank, workers = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    if not note.exists():
        cache_features(encoded(slice(None)), path, rank, workers, dist.barrier if workers > 1 else lambda: None)
        note.touch()
    return CachedFeatures(path, parts[0], device), CachedFeatures(path, parts[1], device)


def _write_result(job: TokenizerJob, learner: Learner, model: VisualTokenizer, figures: dict[str, object]) -> None:
    folder = Path(job.output)
    exported = folder / "tokenizer"
    save_tokenizer(model.to("cpu"), exported)
    decoder = learner.objective.ranks or learner.objective.decoder
    if isinstance(decoder, RanksDecoder):
        state = {name: tensor.cpu().contiguous() for name, tensor in decoder.state_dict().items()}
        save_file(state, exported / "decoder.safetensors")
    (exported / "metrics.json").write_text(
        json.dumps({"seed": job.seed, "settings": asdict(job.training), **figures}, indent=2) + "\n", encoding="utf-8"
    )
    plot_curves(folder)
    result = TokenizerResult(str(exported), job.training.steps, figures)
    (folder / RESULT_FILE).write_text(json.dumps(asdict(result), indent=2) + "\n", encoding="utf-8")
