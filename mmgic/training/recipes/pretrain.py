"""Pre-training as a Ray Train job: the entry of training, and its only module that imports Ray."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.train.torch
import torch
import yaml
from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig, TrainingFailedError, WorkerGroupError
from ray.util.metrics import Gauge
from transformers.utils.logging import disable_progress_bar

from mmgic.errors import InputError
from mmgic.model.assemble import untrained_model, vocabulary_of
from mmgic.model.vl_llama import trainable_summary
from mmgic.settings import Settings, SettingsError, to_yaml
from mmgic.training.checkpoints import (
    Progress,
    checkpoints,
    load_moments,
    load_parameters,
    load_progress,
    save_checkpoint,
)
from mmgic.training.curriculum import SampleOrder, parse_curriculum
from mmgic.training.engine import full_moments, make_engine, set_moments, single_process_group
from mmgic.training.loop import Batches, StepMetrics, train
from mmgic.training.metrics import MetricsLog, read_metrics
from mmgic.training.store import TokenStore, store_folder

RESULT_FILE, SETTINGS_FILE = "result.json", "settings.yaml"
# settings that may change between two starts of one run: they say where and how safely, not what is computed
_FREE = ("llm", "checkpoint_every", "keep_checkpoints", "max_failures", "zero_stage", "name")


@dataclass(frozen=True)
class TrainingResult:
    """A finished run. Losses are the last step's; paths are absolute."""

    run_folder: str  # metrics.jsonl, tensorboard/, settings.yaml, result.json
    checkpoint: str
    steps: int
    tokens: int
    loss: float
    visual_loss: float
    text_loss: float
    trained_parameters: int
    total_parameters: int


def run(settings: Settings) -> TrainingResult:
    """Trains on `<output>/store` and returns the result, which is also in `<output>/training/<name>/result.json`.

    Goes on from the run's newest checkpoint, also after the driver was killed and on another number of workers:
    batches and losses are those of a run that was never interrupted. A finished run returns at once. With
    cluster.training_workers = 0 it trains in this process, without a cluster. Every worker must see `settings.output`
    under the same path.

    Raises SettingsError or InputError for what cannot be trained.
    """
    settings = _with_absolute_paths(settings)
    run_folder = training_folder(settings)
    _check_same_run(run_folder, settings)
    result_file = run_folder / RESULT_FILE
    if result_file.exists():
        return TrainingResult(**json.loads(result_file.read_text(encoding="utf-8")))
    make_batches(settings, rank=0, workers=1)  # refuses unusable input here, before workers are started for it
    workers, gpus = settings.cluster.training_workers, settings.cluster.training_gpus
    if workers:
        _check_resources(workers, gpus)
    os.environ.setdefault("RAY_TRAIN_ENABLE_PRINT_PATCH", "0")  # it shows every line of a worker twice
    run_folder.mkdir(parents=True, exist_ok=True)
    (run_folder / SETTINGS_FILE).write_text(to_yaml(settings), encoding="utf-8")
    trainer = ray.train.torch.TorchTrainer(
        _train_worker,
        train_loop_config={"settings": settings},
        torch_config=ray.train.torch.TorchConfig(backend="nccl" if gpus else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=workers,
            use_gpu=gpus > 0,
            resources_per_worker={"CPU": 1, "GPU": gpus} if gpus else {"CPU": 1},
        ),
        run_config=RunConfig(
            name=settings.training.name,
            storage_path=str(run_folder.parent),
            failure_config=FailureConfig(max_failures=settings.training.max_failures),
            logging_config=LoggingConfig(log_level="WARNING"),
        ),
    )
    try:
        trainer.fit()
    except TrainingFailedError as error:
        raise user_error(error) or error from None
    return TrainingResult(**json.loads(result_file.read_text(encoding="utf-8")))


def training_folder(settings: Settings) -> Path:
    return Path(settings.output) / "training" / settings.training.name


def make_batches(settings: Settings, rank: int, workers: int) -> Batches:
    """Worker `rank`'s share of every step. Raises SettingsError or InputError for input that does not fit together."""
    phases = parse_curriculum(settings.training.curriculum)
    vocabulary = vocabulary_of(settings)
    store = TokenStore(store_folder(settings.output))
    if store.manifest.vocabulary_size != vocabulary.size:
        raise InputError(
            f"the token store was built for {store.manifest.vocabulary_size} token ids but {settings.model.llm} with "
            f"the codes of {settings.vision.checkpoint} has {vocabulary.size}; build the documents again with these"
        )
    corpora = {name: store.corpus_indices(name) for name in store.corpora}
    order = SampleOrder(phases, corpora, settings.seed, settings.training.epochs)
    return Batches(store, order, vocabulary, settings, rank, workers)


def _train_worker(config: dict[str, Settings]) -> None:
    """What each Ray Train worker runs."""
    settings = config["settings"]
    logging.getLogger("ray.train").setLevel(logging.WARNING)  # it would repeat what metrics.jsonl holds
    device = ray.train.torch.get_device() if settings.cluster.training_gpus else torch.device("cpu")
    alone = not torch.distributed.is_initialized()
    with single_process_group(device) if alone else nullcontext():
        _train_in_group(settings, device, show=None if alone else _gauges())


def _train_in_group(settings: Settings, device: torch.device, show: Callable[[StepMetrics], None] | None) -> None:
    rank, workers = torch.distributed.get_rank(), torch.distributed.get_world_size()
    run_folder = training_folder(settings)
    batches = make_batches(settings, rank, workers)
    disable_progress_bar()
    model = untrained_model(settings)
    if settings.training.gradient_checkpointing:
        model.llama.gradient_checkpointing_enable({"use_reentrant": False})
    summary = trainable_summary(model)
    parameters = model.trained_parameters()
    newest = checkpoints(run_folder)[-1:]
    progress = Progress(step=0, steps=batches.steps, tokens=0)
    for folder in newest:
        progress = load_progress(folder)
        if progress.steps != batches.steps:
            raise InputError(
                f"{run_folder} was begun as a run of {progress.steps} steps and would now have {batches.steps}; the "
                "documents have changed since, so choose another training.name or remove the folder"
            )
        load_parameters(folder, parameters)
    engine = make_engine(model, settings.training, device)
    for folder in newest:
        set_moments(engine, parameters, load_moments(folder, parameters), progress.step)
    log = MetricsLog(run_folder, progress.step, batches.steps) if rank == 0 else None
    if log:
        print(
            f"{summary}; steps {progress.step + 1} to {batches.steps}, {workers} worker(s), {device.type}", flush=True
        )
    tokens = progress.tokens
    latest: dict[str, Any] = {}

    def on_step(metrics: StepMetrics) -> None:
        nonlocal tokens, latest
        tokens, latest = tokens + metrics.tokens, asdict(metrics)
        if log:
            log.write(metrics)
            if show:
                show(metrics)

    def on_checkpoint(step: int) -> None:
        moments = full_moments(engine, parameters)
        if rank == 0:
            done = Progress(step=step, steps=batches.steps, tokens=tokens)
            save_checkpoint(run_folder, done, parameters, moments, settings.training.keep_checkpoints)
        ray.train.report(latest)

    train(engine, batches, settings, progress.step, on_step, on_checkpoint)
    if log:
        log.close()
        _write_result(run_folder, tokens, summary.trained, summary.total)


def _write_result(run_folder: Path, tokens: int, trained: int, total: int) -> None:
    last = read_metrics(run_folder)[-1]
    result = TrainingResult(
        run_folder=str(run_folder),
        checkpoint=str(checkpoints(run_folder)[-1]),
        steps=int(last["step"]) + 1,
        tokens=tokens,
        loss=last["loss"],
        visual_loss=last["visual_loss"],
        text_loss=last["text_loss"],
        trained_parameters=trained,
        total_parameters=total,
    )
    unfinished = run_folder / f"{RESULT_FILE}.unfinished"
    unfinished.write_text(json.dumps(asdict(result), indent=2) + "\n", encoding="utf-8")
    unfinished.rename(run_folder / RESULT_FILE)


def _gauges() -> Callable[[StepMetrics], None]:
    """Sets Prometheus gauges of Ray, mmgic_training_<name>, to a step's values."""
    names = ("loss", "visual_loss", "text_loss", "learning_rate", "grad_norm", "tokens_per_second", "data_wait")
    gauges = {name: Gauge(f"mmgic_training_{name}") for name in names}

    def show(metrics: StepMetrics) -> None:
        for name, gauge in gauges.items():
            gauge.set(getattr(metrics, name))

    return show


def _with_absolute_paths(settings: Settings) -> Settings:
    """Ray Train's workers run in a folder of their own."""
    if "://" in settings.output:
        raise SettingsError(
            f"'output' is {settings.output}, but training maps <output>/store into memory; copy the store to a file "
            "system that every worker mounts and set output to its path"
        )
    return replace(
        settings,
        output=str(Path(settings.output).resolve()),
        model=replace(settings.model, llm=settings.model.llm and str(Path(settings.model.llm).resolve())),
        vision=replace(
            settings.vision, checkpoint=settings.vision.checkpoint and str(Path(settings.vision.checkpoint).resolve())
        ),
    )


def _check_same_run(run_folder: Path, settings: Settings) -> None:
    """Raises SettingsError where `run_folder` holds a run that computes something else."""
    path = run_folder / SETTINGS_FILE
    if not path.exists():
        return
    before, now = yaml.safe_load(path.read_text(encoding="utf-8")), yaml.safe_load(to_yaml(settings))
    for group in ("model", "loss", "training"):
        for key, value in now[group].items():
            if key not in _FREE and before[group].get(key) != value:
                raise SettingsError(
                    f"{run_folder} holds a run with {group}.{key} = {before[group].get(key)}, not {value}; choose "
                    "another training.name, or remove the folder to begin again"
                )
    if before["seed"] != now["seed"]:
        raise SettingsError(f"{run_folder} holds a run with seed = {before['seed']}; choose another training.name")


def _check_resources(workers: int, gpus: float) -> None:
    """Raises SettingsError where the cluster can never start the workers; Ray would wait for ever."""
    if not ray.is_initialized():
        ray.init()
    available = ray.cluster_resources()
    for kind, needed in (("CPU", workers), ("GPU", workers * gpus)):
        if available.get(kind, 0) < needed:
            raise SettingsError(
                f"{workers} training workers need {needed:g} {kind}s but the cluster has {available.get(kind, 0):g}; "
                "lower cluster.training_workers (0 trains in this process) or cluster.training_gpus, or add nodes"
            )


def user_error(error: TrainingFailedError) -> BaseException | None:
    """The SettingsError or InputError of a worker that ended the run, if it was one."""
    pending: list[BaseException] = list(error.worker_failures.values()) if isinstance(error, WorkerGroupError) else []
    while pending:
        failure = pending.pop()
        if isinstance(failure, (SettingsError, InputError)):
            return failure
        pending += [cause for cause in (failure.__cause__, getattr(failure, "_base_exc", None)) if cause]
    return None
