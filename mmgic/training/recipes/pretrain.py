"""Pre-training of the language model on the token store (Section 3.2), with DeepSpeed."""

from __future__ import annotations

import hashlib
import json
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from mmgic.errors import InputError
from mmgic.files import model_fingerprint
from mmgic.model.assemble import untrained_model, vocabulary_of
from mmgic.model.vl_llama import trainable_summary
from mmgic.settings import Settings
from mmgic.training.checkpoints import load_moments, load_parameters
from mmgic.training.curriculum import SampleOrder, parse_curriculum
from mmgic.training.engine import full_moments, make_engine, set_moments, single_process_group
from mmgic.training.export import export_checkpoint
from mmgic.training.loop import Batches, train
from mmgic.training.metrics import read_metrics
from mmgic.training.recipe import RunResult, TrainingRecipe
from mmgic.training.store import TokenStore, store_folder
from mmgic.training.worker import Worker


@dataclass(frozen=True)
class PretrainingResult(RunResult):
    """Losses are the last step's. `model` is a plain Llama folder, which Transformers and vLLM load."""

    tokens: int
    loss: float
    visual_loss: float
    text_loss: float
    trained_parameters: int
    total_parameters: int


def make_batches(settings: Settings, rank: int = 0, workers: int = 1) -> Batches:
    """Worker `rank`'s share of every step. Raises SettingsError or InputError for input that does not fit together."""
    phases = parse_curriculum(settings.training.curriculum)
    vocabulary = vocabulary_of(settings)
    store = TokenStore(store_folder(settings))
    if store.manifest.vocabulary_size != vocabulary.size:
        raise InputError(
            f"the token store was built for {store.manifest.vocabulary_size} token ids but {settings.model.llm} with "
            f"the codes of {settings.vision.checkpoint} has {vocabulary.size}; build the documents again with these"
        )
    corpora = {name: store.corpus_indices(name) for name in store.corpora}
    order = SampleOrder(phases, corpora, settings.seed, settings.training.epochs)
    return Batches(store, order, vocabulary, settings.training, settings.loss.mask_prob, settings.seed, rank, workers)


def _inputs(settings: Settings) -> dict[str, str]:
    store = json.dumps(asdict(TokenStore(store_folder(settings)).manifest), sort_keys=True)
    return {
        "token store": hashlib.sha256(store.encode()).hexdigest()[:16],
        "language model": model_fingerprint(settings.model.llm) if settings.model.llm else "",
        "visual tokenizer": model_fingerprint(settings.vision.checkpoint) if settings.vision.checkpoint else "",
    }


def _train_worker(settings: Settings, worker: Worker) -> dict[str, object]:
    # DeepSpeed works in a process group, which Ray Train makes for its workers
    alone = not torch.distributed.is_initialized()
    with single_process_group(worker.device) if alone else nullcontext():
        return _train_in_group(settings, worker)


def _train_in_group(settings: Settings, worker: Worker) -> dict[str, object]:
    batches = make_batches(settings, worker.rank, worker.workers)
    model = untrained_model(settings)
    if settings.training.gradient_checkpointing:
        model.llama.gradient_checkpointing_enable({"use_reentrant": False})
    summary = trainable_summary(model)
    if worker.rank == 0:
        print(summary, flush=True)
    parameters = model.trained_parameters()
    start = worker.begin(batches.steps)
    if worker.newest:
        load_parameters(worker.newest, parameters)
    engine = make_engine(model, settings.training, worker.device)
    if worker.newest:
        set_moments(engine, parameters, load_moments(worker.newest, parameters), start)

    def save(step: int) -> None:
        worker.save(step, parameters, full_moments(engine, parameters))

    train(engine, batches, settings.loss.visual_weight, start, worker.log, save)
    return _figures(worker.folder, summary.trained, summary.total) if worker.rank == 0 else {}


def _figures(folder: Path, trained: int, total: int) -> dict[str, object]:
    lines = read_metrics(folder)
    return {
        "steps": len(lines),
        "tokens": sum(line["tokens"] for line in lines),
        **{name: lines[-1][name] for name in ("loss", "visual_loss", "text_loss")},
        "trained_parameters": trained,
        "total_parameters": total,
    }


def _export(settings: Settings, result: RunResult, folder: Path) -> None:
    export_checkpoint(result.checkpoint, settings, folder)


PRETRAINING = TrainingRecipe(
    group="training",
    compared=("documents", "model", "loss", "training"),
    inputs=_inputs,
    check=make_batches,
    train=_train_worker,
    export=_export,
    result=PretrainingResult,
)
