"""The entry of every Ray Train run, and the only module of training that imports Ray.

A run lies in `<output>/training/<name>`. Killed at any point, the same call goes on from its newest checkpoint and
makes the steps of a run that was never interrupted, on any number of workers.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from functools import reduce
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.train.torch
import torch
import yaml
from ray import cloudpickle
from ray.autoscaler.sdk import request_resources
from ray.exceptions import RayError
from ray.train import (
    ControllerError,
    FailureConfig,
    LoggingConfig,
    RunConfig,
    ScalingConfig,
    TrainingFailedError,
    WorkerGroupError,
)
from ray.train.v2._internal.exceptions import RayTrainError
from ray.train.v2.api.exceptions import PreemptionError
from ray.util.metrics import Gauge

from mmgic.errors import InputError, UserError, explained
from mmgic.exported.weights import SHARD_BYTES
from mmgic.files import read_mapping, write_text
from mmgic.settings import ClusterSettings, Settings, SettingsError, computed, to_yaml, with_absolute_paths
from mmgic.stages.progress import followed
from mmgic.stages.reporting import lost
from mmgic.stages.session import GROWTH_SECONDS, join_cluster, largest_cluster
from mmgic.stages.task import in_task
from mmgic.training.checkpoints import PARAMETERS, PLACE_FILE, place_of
from mmgic.training.metrics import SETTINGS_FILE, check_wandb
from mmgic.training.recipe import INPUTS_FILE, RESULT_FILE, R, TrainingRecipe
from mmgic.training.worker import LOG_FILE, Worker

GAUGES = ("loss", "visual_loss", "text_loss", "tokens_per_second", "mfu_4n")  # the rest is in metrics.jsonl
# micro batches of all lengths would leave holes between blocks of fixed places
_GPU_MEMORY = {"PYTORCH_ALLOC_CONF": "expandable_segments:True"}
_LOSSES = (RayError, RayTrainError, torch.distributed.DistError, torch.AcceleratorError)
# of gloo, which has no class of errors
_LOST_PEER = re.compile(r"gloo|connection (closed|reset|refused)|broken pipe|timed out", re.I)
_WARNING_SECONDS = 5.0  # between looks for nodes that are about to go


def run(recipe: TrainingRecipe[R], settings: Settings) -> R:
    """Trains, exports the model, and returns the result. A finished run returns at once.

    With cluster.training_workers = 0 it trains in this process, without a cluster. Every worker must see
    `settings.output` under the same path. Raises SettingsError or InputError for what cannot be trained.
    """
    if "://" in settings.output:
        raise SettingsError(
            f"'output' is {settings.output}, but training follows the files of a run while they grow; set output to a "
            "folder that every worker mounts (training.store and training.checkpoints may be urls)"
        )
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # of this process, which exports; workers name their own
    settings = with_absolute_paths(settings)
    folder = recipe.run_folder(settings)
    inputs = recipe.inputs(settings)
    _check_same_run(folder, recipe, settings, inputs)
    finished = (folder / RESULT_FILE).exists()
    if not finished:
        check_wandb(recipe.run_settings(settings).wandb)
        recipe.check(settings)
        if recipe.plan:
            print(recipe.plan(settings), flush=True)
        if settings.cluster.training_workers:
            check_resources(settings.cluster)
        write_text(str(folder / SETTINGS_FILE), to_yaml(settings))
        write_text(str(folder / INPUTS_FILE), json.dumps(inputs, indent=2) + "\n")
        if place := _place(recipe, settings):
            write_text(str(folder / PLACE_FILE), f"{place}\n")
        _fit(recipe, settings)
    result = read_result(recipe, folder)
    if not (finished and result.model.exists()):  # an export appears only when it is complete
        if settings.cluster.training_gpus:  # then the model may be too large for the driver's node
            memory = 2 * SHARD_BYTES + 3 * (result.checkpoint / PARAMETERS).stat().st_size
            in_task(recipe.export, settings, result, result.model, log=folder / LOG_FILE, memory=memory)
        else:
            recipe.export(settings, result, result.model)
    return result


def read_result(recipe: TrainingRecipe[R], folder: Path) -> R:
    """The result of a finished run, whose folder may have been moved. Raises InputError for a damaged one."""
    path = folder / RESULT_FILE
    try:
        return recipe.result(run_folder=str(folder), **json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        raise InputError(
            f"{path} is no result of a training run; remove the file, and the same command makes it again from the "
            "newest checkpoint"
        ) from None


def _place(recipe: TrainingRecipe[Any], settings: Settings) -> str:
    """Where the run's checkpoints are to lie; "" in its folder."""
    run = recipe.run_settings(settings)
    return f"{run.checkpoints}/{run.name}" if run.checkpoints else ""


def _fit(recipe: TrainingRecipe[Any], settings: Settings) -> None:
    """Runs `recipe.train` in the workers, and again whenever one of them is lost, as often as settings say. What a
    worker raises itself is final: it would raise it again."""
    folder, cluster = recipe.run_folder(settings), settings.cluster
    most = recipe.run_settings(settings).max_failures
    os.environ.setdefault("RAY_TRAIN_ENABLE_PRINT_PATCH", "0")  # it shows every line of a worker twice
    if cluster.training_gpus:  # Ray asks NCCL which worker the others wait for, and notes the stacks
        os.environ.setdefault("RAY_TRAIN_ENABLE_NCCL_HANG_DETECTOR", "1")
    fewest = cluster.fewest_training_workers
    failures = 0
    while True:
        trainer = ray.train.torch.TorchTrainer(
            _train_worker,
            # the recipe as bytes, or Ray's controller would import the libraries that a recipe needs
            train_loop_config={"recipe": cloudpickle.dumps(recipe), "settings": settings},
            torch_config=ray.train.torch.TorchConfig(backend="nccl" if cluster.training_gpus else "gloo"),
            scaling_config=ScalingConfig(
                num_workers=(fewest, cluster.training_workers) if fewest else cluster.training_workers,
                use_gpu=cluster.training_gpus > 0,
                resources_per_worker=_resources(cluster),
            ),
            run_config=RunConfig(
                name="ray",
                storage_path=str(folder),
                failure_config=FailureConfig(max_failures=0),  # Ray would try a user's error again as well
                logging_config=LoggingConfig(log_level="WARNING"),
                worker_runtime_env={"env_vars": _GPU_MEMORY} if cluster.training_gpus else {},
            ),
        )
        try:
            with followed(folder / LOG_FILE) if cluster.training_workers else nullcontext():
                trainer.fit()
            return
        except TrainingFailedError as error:
            if mistake := _user_error(error):
                raise mistake from None
            failures += 1
            if not a_worker_was_lost(error):
                raise
            if 0 <= most < failures:
                if how := _lost_worker(error):
                    raise InputError(
                        f"a training worker of {folder} was lost ({how}); if it was for memory, lower the size of a "
                        "micro batch or the number of workers; the same command goes on from the newest checkpoint"
                    ) from None
                raise
            print(f"{folder.name}: a worker was lost; the run goes on from its newest checkpoint", flush=True)


def _train_worker(config: dict[str, Any]) -> None:
    """What each Ray Train worker runs."""
    logging.getLogger("ray.train").setLevel(logging.WARNING)  # it would repeat what metrics.jsonl holds
    recipe: TrainingRecipe[Any] = cloudpickle.loads(config["recipe"])
    settings: Settings = config["settings"]
    context, folder = ray.train.get_context(), recipe.run_folder(settings)
    # by what was asked of Ray; what is visible may be another's
    device = ray.train.torch.get_device() if settings.cluster.training_gpus else torch.device("cpu")
    os.environ["DS_ACCELERATOR"] = device.type  # before anything imports DeepSpeed, which else takes what it sees
    worker = Worker(
        folder,
        recipe.run_settings(settings),
        device,
        context.get_world_rank(),
        context.get_world_size(),
        ray.train.report,
        _gauges() if settings.cluster.training_workers else lambda _: None,
        _warnings(device) if settings.cluster.training_workers else lambda: False,
    )
    with _own_output(folder) if settings.cluster.training_workers else nullcontext():
        try:
            found = recipe.train(settings, worker)
        finally:
            worker.close()
    if worker.rank == 0:
        write_text(str(folder / RESULT_FILE), json.dumps(found, indent=2) + "\n")


@contextmanager
def _own_output(folder: Path) -> Iterator[None]:
    """Sends what is printed to the run's log, which the driver shows: of Ray's logs it would show every line."""
    with (folder / LOG_FILE).open("a", buffering=1, encoding="utf-8") as log, redirect_stdout(log):
        yield


def _warnings(device: torch.device) -> Callable[[], bool]:
    """Whether Ray has warned since the last call of a node of the run that is about to go: the same on all workers."""
    known: set[str] = set()
    asked = time.monotonic()

    def warned() -> bool:
        nonlocal asked
        # Ray's answer is a round trip, so it is asked for now and then, by the clock of worker 0
        due = torch.tensor([time.monotonic() - asked >= _WARNING_SECONDS], dtype=torch.uint8, device=device)
        torch.distributed.broadcast(due, 0)
        if not due.item():
            return False
        asked = time.monotonic()
        info = ray.train.get_preemption_info()
        nodes = set(info.preempted_node_ids) - known if info else set()
        known.update(nodes)
        return bool(nodes)

    return warned


def _gauges() -> Callable[[Mapping[str, Any]], None]:
    """Sets gauges of Ray, mmgic_training_<name>, to what a step has of GAUGES."""
    gauges = {name: Gauge(f"mmgic_training_{name}") for name in GAUGES}

    def show(metrics: Mapping[str, Any]) -> None:
        for name in gauges.keys() & metrics.keys():
            gauges[name].set(metrics[name])

    return show


def _check_same_run(folder: Path, recipe: TrainingRecipe[Any], settings: Settings, inputs: Mapping[str, str]) -> None:
    """Raises SettingsError if `folder` holds a run that computes something else, or from something else, or whose
    checkpoints lie elsewhere."""
    advice = f"choose another {recipe.group}.name, or remove the folder to begin again"
    if (folder / SETTINGS_FILE).exists() and place_of(folder) != (_place(recipe, settings) or str(folder)):
        raise SettingsError(
            f"the checkpoints of {folder} lie in {place_of(folder)}; set {recipe.group}.checkpoints as it was, or "
            f"{advice}"
        )
    if (before := read_mapping(str(folder / SETTINGS_FILE), advice)) is not None:
        now = yaml.safe_load(to_yaml(settings))
        keys = [("seed",), *((group, name) for group in recipe.compared for name in computed(getattr(settings, group)))]
        for key in keys:
            was, value = (reduce(lambda values, name: (values or {}).get(name), key, of) for of in (before, now))
            if was != value:
                raise SettingsError(f"{folder} holds a run with {'.'.join(key)} = {was}, not {value}; {advice}")
    for name, fingerprint in (read_mapping(str(folder / INPUTS_FILE), advice) or {}).items():
        if inputs.get(name) != fingerprint:
            raise SettingsError(f"{folder} holds a run with another {name}; {advice}")


def check_resources(cluster: ClusterSettings) -> None:
    """Waits until the cluster has room for the training workers, or for the fewest that are enough.

    A cluster that grows is asked to, and given `cluster.wait_for_nodes_s`, or 10 minutes. Raises SettingsError if the
    room does not come or, at once, if it never can; Ray would wait for ever.
    """
    if not join_cluster():
        ray.init()
    wanted = cluster.fewest_training_workers or cluster.training_workers
    largest = largest_cluster()
    seconds = cluster.wait_for_nodes_s or (GROWTH_SECONDS if largest else 0.0)
    missing = _missing(cluster, wanted, dict(ray.cluster_resources()))
    never = largest is not None and missing and _missing(cluster, wanted, largest)
    if missing and seconds and not never:
        print(f"waiting up to {seconds:.0f} s for nodes: {missing}", flush=True)
        request_resources(bundles=[_resources(cluster)] * cluster.training_workers)
        deadline = time.monotonic() + seconds
        while missing and time.monotonic() < deadline:
            time.sleep(min(1.0, seconds))
            missing = _missing(cluster, wanted, dict(ray.cluster_resources()))
        request_resources(num_cpus=0)  # from now on the workers themselves are what is asked for
    if missing:
        raise SettingsError(
            f"{f'{never} at its largest' if never else missing}; lower cluster.training_workers (0 trains in this "
            "process) or cluster.training_gpus, add nodes, or let cluster.wait_for_nodes_s pass until a cluster that "
            "grows has them"
        )


def _missing(cluster: ClusterSettings, workers: int, available: Mapping[str, float]) -> str:
    """What a cluster with `available` lacks for `workers` training workers, as a sentence; "" if nothing."""
    for kind, each in _resources(cluster).items():
        if available.get(kind, 0) < workers * each:
            return (
                f"{workers} training workers need {workers * each:g} {kind}s but the cluster has "
                f"{available.get(kind, 0):g}"
            )
    return ""


def _resources(cluster: ClusterSettings) -> dict[str, float]:
    """Of one training worker."""
    return {"CPU": 1.0, "GPU": cluster.training_gpus} if cluster.training_gpus else {"CPU": 1.0}


def _lost_worker(error: TrainingFailedError) -> str:
    """What Ray says of a worker process that is gone, as one that was killed for memory; "" if none is."""
    failures = error.worker_failures.values() if isinstance(error, WorkerGroupError) else ()
    reasons = (lost(getattr(failure, "health_check_failure", failure)) for failure in failures)
    return next(filter(None, reasons), "")


def _user_error(error: TrainingFailedError) -> UserError | None:
    """What ended the run in a worker, if it is a user's to put right."""
    pending: list[BaseException] = list(error.worker_failures.values()) if isinstance(error, WorkerGroupError) else []
    while pending:
        failure = pending.pop()
        if isinstance(failure, UserError):
            return failure
        if sentence := explained(failure):
            return InputError(sentence)
        pending += [cause for cause in (failure.__cause__, getattr(failure, "_base_exc", None)) if cause]
    return None


def a_worker_was_lost(error: TrainingFailedError) -> bool:
    """Whether a run ended because a worker, its node or its device went, and not because of what it computes."""
    if isinstance(error, PreemptionError):
        return True
    if isinstance(error, ControllerError):
        return isinstance(error.controller_failure, RayError | RayTrainError)
    # those that are left fail as well, when they wait for it
    failures = error.worker_failures.values() if isinstance(error, WorkerGroupError) else ()
    causes = [getattr(failure, "_base_exc", failure) for failure in failures]
    return any(
        isinstance(cause, _LOSSES) or (isinstance(cause, RuntimeError) and _LOST_PEER.search(str(cause)))
        for cause in causes
    )
