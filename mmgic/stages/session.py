"""How this process meets Ray: the cluster that it joins or starts, and Ray Data's settings for one execution."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray._private.accelerators import NvidiaGPUAcceleratorManager
from ray.data import DataContext

from mmgic.errors import InputError, explained

LOCAL_CPUS = 6  # logical CPUs of a cluster that starts here, at least


@contextmanager
def ray_session() -> Iterator[None]:
    """Joins the cluster that a job was submitted to or RAY_ADDRESS names; otherwise starts one on this machine."""
    if ray.is_initialized():
        yield
        return
    if os.environ.get("RAY_ADDRESS"):
        join_cluster()
    else:
        # The stages' own small actors need logical CPUs beside the work, also on a laptop of two cores. The dashboard's
        # state service is what Ray Train cleans up with, and the address is how its actors find this cluster's.
        with _starting("Ray cannot start on this machine", "see that RAY_TMPDIR or TMPDIR has room"):
            cluster = ray.init(address="local", num_cpus=_local_cpus(), include_dashboard=True)
        os.environ["RAY_ADDRESS"] = cluster.address_info["gcs_address"]
    try:
        yield
    finally:
        ray.shutdown()


def join_cluster() -> None:
    """Joins the cluster that a job was submitted to or RAY_ADDRESS names, if this process has not yet.

    Raises InputError if it does not answer.
    """
    if not ray.is_initialized():
        address = os.environ.get("RAY_ADDRESS", "")
        with _starting(f"the Ray cluster at {address} cannot be joined", "unset RAY_ADDRESS, or start that cluster"):
            ray.init()


@contextmanager
def _starting(what: str, advice: str) -> Iterator[None]:
    """Whatever stops `ray.init`, which has no errors of its own, as a sentence."""
    try:
        yield
    except Exception as error:
        reason = explained(error) or " ".join(str(error).split())
        raise InputError(f"{what} ({reason}); {advice}") from None


def cluster_size() -> dict[str, float]:
    """CPUs, GPUs and the like of the cluster that `ray_session` joins, or starts on this machine."""
    if os.environ.get("RAY_ADDRESS"):
        join_cluster()
    if ray.is_initialized():
        return dict(ray.cluster_resources())
    return {"CPU": _local_cpus(), "GPU": NvidiaGPUAcceleratorManager.get_current_node_num_accelerators()}


def _local_cpus() -> int:
    return max(LOCAL_CPUS, os.cpu_count() or 1)


def execution_context() -> DataContext:
    """Ray Data's settings for one execution. Its progress bars are off and its logs go to its log file alone."""
    context = DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # The newer reader starts 32 actors to read the footers of even one file: minutes on a small machine.
    context.use_datasource_v2 = False
    for handler in logging.getLogger("ray.data").handlers:
        if type(handler).__name__ == "PlainRayHandler":
            handler.setLevel(logging.CRITICAL)
    return context
