"""Training of the language model on the token store, with DeepSpeed: pre-training (Section 3.2) and fine-tuning (3.3).

Both are this recipe: which tokens are learned is the documents' own (`answer_spans`), and `training.start` says what a
run goes on from.
"""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from mmgic.errors import InputError
from mmgic.files import model_fingerprint
from mmgic.model.assemble import vocabulary_of
from mmgic.model.llama_config import check_window, load_llama_config
from mmgic.model.vl_llama import trainable_summary, trained_count
from mmgic.model.vocabulary import VLVocabulary
from mmgic.settings import Settings
from mmgic.training.bad_steps import StepGuard
from mmgic.training.checkpoints import load_moments, load_parameters
from mmgic.training.engine import MOMENTS, full_moments, make_engine, set_moments, single_process_group
from mmgic.training.export import export_checkpoint
from mmgic.training.loop import Batches, StepMetrics, train
from mmgic.training.memory import check_memory, describe_memory, estimate_memory
from mmgic.training.metrics import read_metrics
from mmgic.training.plan import make_plan, plan_text
from mmgic.training.recipe import RunResult, TrainingRecipe
from mmgic.training.start import LANGUAGE_MODEL, check_start, start_fingerprint, starting_model
from mmgic.training.store import TokenStore, read_store_manifest
from mmgic.training.store.files import local_store, store_place
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
    check_start(settings)
    vocabulary = vocabulary_of(settings)
    check_window(load_llama_config(settings.model.llm), settings.documents.max_tokens)
    store = TokenStore(local_store(settings))
    if store.manifest.vocabulary_size != vocabulary.size:
        raise InputError(
            f"the token store was built for {store.manifest.vocabulary_size} token ids but {settings.model.llm} with "
            f"the codes of {settings.vision.checkpoint} has {vocabulary.size}; build the documents again with these"
        )
    plan = make_plan(settings.training, store, settings.seed)
    return Batches(store, plan, vocabulary, settings.training, settings.loss.mask_prob, settings.seed, rank, workers)


def describe_plan(settings: Settings) -> str:
    """What the run will do, as text. Raises like `make_batches`."""
    from mmgic.vision.folders import read_codebook

    batches = make_batches(settings)
    width = read_codebook(settings.vision.checkpoint).shape[1]
    trained = trained_count(load_llama_config(settings.model.llm), batches.vocabulary, width, settings.model.lora_rank)
    rate = settings.cluster.tokens_per_second * max(1, settings.cluster.training_workers)
    made = read_metrics(PRETRAINING.run_folder(settings))
    if made and not rate:
        rate = float(np.median([step["tokens_per_second"] for step in made]))
    text = plan_text(batches.plan, batches.store, 4 * trained * (1 + len(MOMENTS)), rate, settings.cluster)
    return f"{text}\n{describe_memory(settings, batches.vocabulary, width)}"


def _inputs(settings: Settings) -> dict[str, str]:
    store = json.dumps(asdict(read_store_manifest(store_place(settings))), sort_keys=True)
    return {
        "token store": hashlib.sha256(store.encode()).hexdigest()[:16],
        LANGUAGE_MODEL: model_fingerprint(settings.model.llm) if settings.model.llm else "",
        "visual tokenizer": model_fingerprint(settings.vision.checkpoint) if settings.vision.checkpoint else "",
        "start": start_fingerprint(settings),
    }


def _train_worker(settings: Settings, worker: Worker) -> dict[str, object]:
    # DeepSpeed works in a process group, which Ray Train makes for its workers
    alone = not torch.distributed.is_initialized()
    with single_process_group(worker.device) if alone else nullcontext():
        return _train_in_group(settings, worker)


def _train_in_group(settings: Settings, worker: Worker) -> dict[str, object]:
    began = time.perf_counter()
    batches = make_batches(settings, worker.rank, worker.workers)
    _check_card(settings, batches.vocabulary, worker.device)
    model = starting_model(settings, device=worker.device)
    model.checkpoint_layers(settings.training.gradient_checkpointing)
    if settings.training.compile == "always" or (settings.training.compile == "auto" and worker.device.type == "cuda"):
        model.compile_layers()
    summary, loaded = trainable_summary(model), time.perf_counter() - began
    if worker.rank == 0:
        print(summary, flush=True)
    parameters = model.trained_parameters()
    start = worker.begin(batches.steps)
    if worker.newest:
        load_parameters(worker.newest, parameters)
    engine = make_engine(model, settings.training, worker.device)
    guard = StepGuard(settings.training, worker.progress.norms, worker.progress.skipped)
    if worker.newest:
        first = batches.plan.first_of_optimizer(start) if start < batches.steps else start
        taken = start - first - guard.skipped_since(first)
        set_moments(engine, parameters, load_moments(worker.newest, parameters), taken)

    def save(step: int) -> None:
        worker.save(step, parameters, full_moments(engine, parameters), **guard.state())

    def log(metrics: StepMetrics) -> None:
        worker.log(metrics)
        if worker.rank == 0 and metrics.step == start:
            seconds = time.perf_counter() - began
            print(f"first step after {seconds:.1f} s, {loaded:.1f} of them until the model was loaded", flush=True)

    train(engine, batches, settings.loss.visual_weight, start, worker, guard, log, save)
    return _figures(worker.folder, summary.trained, summary.total) if worker.rank == 0 else {}


def _check_card(settings: Settings, vocabulary: VLVocabulary, device: torch.device) -> None:
    """Raises SettingsError if the device that this worker was given is too small."""
    from mmgic.vision.folders import read_codebook

    if device.type == "cuda":
        width = read_codebook(settings.vision.checkpoint).shape[1]
        estimate = estimate_memory(settings, load_llama_config(settings.model.llm), vocabulary, width)
        check_memory(estimate, settings, torch.cuda.get_device_properties(device).total_memory)


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
    plan=describe_plan,
)
