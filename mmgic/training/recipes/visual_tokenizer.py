"""Training of a visual tokenizer on a frozen image encoder (LaVIT's stages, `mmgic.vision.learning.objective`)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file

from mmgic.errors import InputError
from mmgic.files import model_fingerprint, whole_folder
from mmgic.settings import Settings, SettingsError, TokenizerTraining, computed
from mmgic.training.checkpoints import load_moments, load_parameters
from mmgic.training.recipe import RunResult, TrainingRecipe
from mmgic.training.worker import Worker
from mmgic.vision.folders import load_config, load_tokenizer, save_tokenizer
from mmgic.vision.learning.codebook import CodebookAverages
from mmgic.vision.learning.curves import plot_curves
from mmgic.vision.learning.diffusion import TRUNK_FILE
from mmgic.vision.learning.features import (
    CachedFeatures,
    EncodedImages,
    Features,
    cache_features,
    fingerprint_of_images,
    list_images,
)
from mmgic.vision.learning.frozen import FrozenEncoder, load_frozen
from mmgic.vision.learning.learner import Learner, checkpoint_tensors, train
from mmgic.vision.learning.objective import Objective, RanksDecoder, make_feature_decoder, start_weights
from mmgic.vision.network.encoder import Encoder
from mmgic.vision.network.tokenizer import VisualTokenizer


@dataclass(frozen=True)
class TokenizerResult(RunResult):
    """`figures` are of the held-out images. `model` is a tokenizer's folder, with LaVIT's feature decoder beside it if
    that was trained; curves.png is in the run's folder."""

    figures: dict[str, object]


def _inputs(settings: Settings) -> dict[str, str]:
    training = settings.tokenizer_training
    for name in ("images", "encoder"):
        if not getattr(training, name):
            raise SettingsError(f"'tokenizer_training.{name}' is empty; set it to the folder that training reads")
    return {
        "list of images": fingerprint_of_images(training.images),
        "encoder": model_fingerprint(training.encoder),
        "tokenizer to start from": model_fingerprint(training.start) if training.start else "",
    }


def _check(settings: Settings) -> None:
    training = settings.tokenizer_training
    if min(training.continuous_steps, training.quantized_steps) < 1 and not training.start:
        raise SettingsError("continuous_steps and quantized_steps must be at least 1, unless a start is given")
    if training.decoder_steps and training.decoder == "lavit":
        raise SettingsError("decoder_steps are for another decoder than lavit, which is trained all along")
    check_batch(training.batch_size, settings.cluster.training_workers)
    read_target(load_frozen(training.encoder), training)
    if training.start and load_config(training.start) != load_config(training.encoder):
        raise InputError(
            f"{training.start} and {training.encoder} are of different sizes; training goes on with one encoder"
        )


def check_batch(images: int, workers: int) -> None:
    """Raises SettingsError if the workers cannot share a batch."""
    if images % max(1, workers):
        raise SettingsError(f"a batch of {images} images cannot be shared by {workers} workers evenly")


def read_target(frozen: FrozenEncoder, training: TokenizerTraining) -> torch.nn.Module:
    """What makes of features what is rebuilt. Raises InputError if that is a head that the encoder lacks."""
    if training.target == "features":
        return torch.nn.Identity()
    if frozen.head is None:
        raise InputError(f"{training.encoder} has no norm and head to read targets with; take target=features")
    return frozen.head


def _train_worker(settings: Settings, worker: Worker) -> dict[str, object]:
    training = settings.tokenizer_training
    torch.manual_seed(settings.seed)  # every worker starts from the same weights
    model, objective = _untrained(training)
    model.encoder.to(worker.device)
    data, held_out = _open_data(training, worker, model.encoder)
    learner = Learner(objective, data, settings.seed, worker.device)
    start = worker.begin(training.steps)
    if worker.newest:
        load_parameters(worker.newest, learner.parameters())  # copies into the tensors themselves
        learner.enter(training.stage(start - 1)[0])
        learner.resume(start, load_moments(worker.newest, learner.trained))
    else:
        learner.standardise()

    def save(step: int) -> None:
        worker.save(step, learner.parameters(), learner.moments())

    train(learner, start, worker.log, worker.due, save)
    figures = learner.evaluate(held_out)
    if worker.rank == 0:
        plot_curves(worker.folder)
    return {"steps": training.steps, "figures": figures}


def _untrained(training: TokenizerTraining) -> tuple[VisualTokenizer, Objective]:
    """The tokenizer before training, and the objective that shares its parts."""
    frozen = load_frozen(training.encoder)
    model, head = frozen.model, read_target(frozen, training)
    if training.start:
        model.load_state_dict(load_tokenizer(training.start).state_dict())
    else:
        start_weights(model, training.keep_ratio)
    target_dim = head(torch.zeros(1, model.config.width)).shape[-1]
    return model, Objective(model, head, make_feature_decoder(model.config, training, target_dim), training)


def _open_data(training: TokenizerTraining, worker: Worker, encoder: Encoder) -> tuple[Features, Features]:
    """The images that are trained on, and those that are held out."""
    paths = list_images(training.images)
    held_out = min(training.held_out, max(1, len(paths) // 10))
    if len(paths) <= held_out:
        raise InputError(f"{training.images} holds {len(paths)} image; training needs at least 2")
    size, half = load_config(training.encoder).image_size, training.dtype == "bfloat16"

    def encoded(part: slice) -> EncodedImages:
        return EncodedImages(paths[part], encoder, size, half)

    parts = slice(held_out, None), slice(0, held_out)
    if not training.cache:
        return encoded(parts[0]), encoded(parts[1])
    path, note = worker.folder / "features.npy", worker.folder / "features.done"
    if not note.exists():
        wait = dist.barrier if worker.workers > 1 else lambda: None
        cache_features(encoded(slice(None)), path, worker.rank, worker.workers, wait)
        note.touch()
    return CachedFeatures(path, parts[0], worker.device), CachedFeatures(path, parts[1], worker.device)


def _export(settings: Settings, result: RunResult, folder: Path) -> None:
    assert isinstance(result, TokenizerResult)
    training = settings.tokenizer_training
    model, objective = _untrained(training)
    averages = CodebookAverages(objective.quantizer, training.codebook_decay)
    load_parameters(result.checkpoint, checkpoint_tensors(objective, averages))
    with whole_folder(folder) as unfinished:
        save_tokenizer(model, unfinished)
        decoder = objective.ranks or objective.decoder
        if isinstance(decoder, RanksDecoder):
            state = {name: tensor.contiguous() for name, tensor in decoder.state_dict().items()}
            save_file(state, unfinished / TRUNK_FILE)
        metrics = {"seed": settings.seed, "settings": computed(training), **result.figures}
        (unfinished / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")


TOKENIZER = TrainingRecipe(
    group="tokenizer_training",
    compared=("tokenizer_training",),
    inputs=_inputs,
    check=_check,
    train=_train_worker,
    export=_export,
    result=TokenizerResult,
)
