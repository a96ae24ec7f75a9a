"""How the vision models' trainings run on Ray Train: the same start, the same end, the same refusals."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import ray
import ray.train.torch
import yaml
from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig, TrainingFailedError

from mmgic.settings import SettingsError
from mmgic.training.recipes.pretrain import user_error

SETTINGS_FILE = "settings.yaml"
# what may change between two starts of one run: where and how safely, not what is computed
_FREE = {"output", "workers", "gpus", "max_failures", "training.checkpoint_every", "training.keep_checkpoints"}


def fit(worker: Callable[[dict[str, Any]], None], job: Any) -> None:
    """Runs `worker({"job": job})` on `job.workers` workers with `job.gpus` each; 0 workers: in this process.

    `job` is a dataclass of its settings with output, workers, gpus, max_failures and training.batch_size. Raises
    SettingsError where the cluster cannot start the workers, and what a worker raised of SettingsError and InputError.
    """
    if job.workers:
        _check_resources(job.workers, job.gpus)
    os.environ.setdefault("RAY_TRAIN_ENABLE_PRINT_PATCH", "0")  # it shows every line of a worker twice
    trainer = ray.train.torch.TorchTrainer(
        worker,
        train_loop_config={"job": job},
        torch_config=ray.train.torch.TorchConfig(backend="nccl" if job.gpus else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=job.workers,
            use_gpu=job.gpus > 0,
            resources_per_worker={"CPU": 1, "GPU": job.gpus} if job.gpus else {"CPU": 1},
        ),
        run_config=RunConfig(
            name="ray",
            storage_path=job.output,
            failure_config=FailureConfig(max_failures=job.max_failures),
            logging_config=LoggingConfig(log_level="WARNING"),
        ),
    )
    try:
        trainer.fit()
    except TrainingFailedError as error:
        raise user_error(error) or error from None


def claim_run(folder: Path, settings: Mapping[str, Any], images: Sequence[str]) -> None:
    """Makes `folder` the place of the run of these `settings` on these `images`. Raises SettingsError where it holds
    another one, or where the workers cannot share a batch."""
    batch, workers = settings["training"]["batch_size"], settings["workers"]
    if batch < 1 or batch % max(1, workers):
        raise SettingsError(f"a batch of {batch} images cannot be shared by {workers} workers evenly")
    listed = blake2b("\0".join(images).encode(), digest_size=8).hexdigest()
    settings = {**settings, "list of images": f"{len(images)}, {listed}"}
    path = folder / SETTINGS_FILE
    if path.exists():
        before, now = _flat(yaml.safe_load(path.read_text(encoding="utf-8"))), _flat(settings)
        changed = sorted(key for key in now.keys() - _FREE if before.get(key) != now[key])
        if changed:
            raise SettingsError(f"{folder} holds a run with another {changed[0]}; choose another output, or remove it")
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(dict(settings), sort_keys=False), encoding="utf-8")


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    groups = {k: v for k, v in settings.items() if isinstance(v, Mapping)}
    return {
        **{k: v for k, v in settings.items() if k not in groups},
        **{f"{group}.{key}": value for group, values in groups.items() for key, value in values.items()},
    }


def _check_resources(workers: int, gpus: float) -> None:
    """Ray would wait for ever for workers that the cluster can never start."""
    if not ray.is_initialized():
        ray.init()
    available = ray.cluster_resources()
    for kind, needed in (("CPU", workers), ("GPU", workers * gpus)):
        if available.get(kind, 0) < needed:
            raise SettingsError(
                f"{workers} workers need {needed:g} {kind}s but the cluster has {available.get(kind, 0):g}; lower "
                "workers (0 trains in this process) or gpus, or add nodes"
            )
