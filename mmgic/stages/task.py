"""Work that is done where its GPUs or memory are, and not in the driver, which may sit on a small head node."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TypeVar

import ray
from ray.exceptions import RayTaskError

from mmgic.errors import InputError, UserError
from mmgic.stages.progress import followed
from mmgic.stages.session import largest_cluster

T = TypeVar("T")


def in_task(work: Callable[..., T], *arguments: object, log: Path, gpus: float = 0, memory: float = 0) -> T:
    """What `work` returns, computed in a Ray task that holds `gpus` and `memory` bytes of one node.

    What it prints goes through the file `log` to standard output. Its paths are the driver's, so that node must see the
    driver's folders. Raises what `work` does, and InputError if the cluster has no such node.
    """
    for kind, needed in (("GPU", gpus), ("memory", memory)):
        most = max((node["Resources"].get(kind, 0) for node in ray.nodes() if node["Alive"]), default=0)
        if needed > most and needed > (largest_cluster() or {}).get(kind, 0):
            raise InputError(
                f"{needed:g} {'GPUs' if kind == 'GPU' else 'bytes of memory'} are asked for, but no node of the "
                f"cluster has more than {most:g}; add a node, or ask for less"
            )
    log.parent.mkdir(parents=True, exist_ok=True)
    # what imports DeepSpeed chooses its device for good, by what it sees
    own = {} if gpus else {"env_vars": {"DS_ACCELERATOR": "cpu"}}
    task = ray.remote(num_cpus=1, num_gpus=gpus, memory=memory, max_retries=0, runtime_env=own)(_printing_to)
    with followed(log):
        try:
            result: T = ray.get(task.remote(os.getcwd(), log.absolute(), work, arguments))
        except RayTaskError as error:
            raise (error.cause if isinstance(error.cause, UserError) else error) from None
    return result


def _printing_to(folder: str, log: Path, work: Callable[..., T], arguments: tuple[object, ...]) -> T:
    os.chdir(folder)  # paths are the driver's
    with log.open("a", buffering=1, encoding="utf-8") as file, redirect_stdout(file), redirect_stderr(file):
        return work(*arguments)
