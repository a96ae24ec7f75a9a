"""How this process meets Ray: the cluster that it joins or starts, and Ray Data's settings for one execution."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
import ray._private.state
from ray._private.accelerators import NvidiaGPUAcceleratorManager
from ray._private.services import find_bootstrap_address
from ray.data import DataContext

from mmgic.errors import InputError, explained

LOCAL_CPUS = 6  # logical CPUs of a cluster that starts here, at least
ADDRESS = "RAY_ADDRESS"
OWN = "local"  # of ADDRESS: a cluster of this job's own, whatever else runs here
GROWTH_SECONDS = 600.0  # that a cluster with an autoscaler is given to have what a job asks for
ANSWER_SECONDS = 5.0  # that a cluster may take to accept a connection


@contextmanager
def ray_session() -> Iterator[None]:
    """Joins a cluster or, if there is none (see `join_cluster`), starts one on this machine until the session ends."""
    if ray.is_initialized():
        yield
        return
    named = os.environ.get(ADDRESS)
    if not join_cluster():
        os.environ.pop(ADDRESS, None)  # the cluster's processes would take it for theirs
        # The stages' own small actors need logical CPUs beside the work, also on a laptop of two cores. The dashboard's
        # state service is what Ray Train cleans up with.
        try:
            _init(address=OWN, num_cpus=_local_cpus(), include_dashboard=True)
        except Exception as error:  # Ray has no errors of its own for it
            what = f"Ray cannot start on this machine ({_reason(error)})"
            raise InputError(f"{what}; see that RAY_TMPDIR or TMPDIR has room") from None
    try:
        yield
    finally:
        ray.shutdown()
        if named is None:
            os.environ.pop(ADDRESS, None)
        else:
            os.environ[ADDRESS] = named


def join_cluster() -> bool:
    """Joins the cluster that this job was submitted to or RAY_ADDRESS names, else the one that `ray start` made here.

    True if this process is part of one. False if there is none, and if RAY_ADDRESS is "local"; one on this machine that
    cannot be joined is told of. Raises InputError if that happens to the one that RAY_ADDRESS names.
    """
    if ray.is_initialized():
        return True
    named = os.environ.get(ADDRESS, "")
    if named == OWN:
        return False
    address = named or find_bootstrap_address(None)
    if not address:
        return False
    problem = _silence(address)
    if not problem:
        try:
            # with no address Ray takes the same one, and the token that `ray start` took
            _init()
            return True
        except Exception as error:  # of many classes
            ray.shutdown()
            problem = _reason(error)
    if named:
        raise InputError(
            f"the Ray cluster that {ADDRESS} names, {named}, cannot be joined ({problem}); start it, or unset {ADDRESS}"
        )
    print(f"the Ray cluster at {address} cannot be joined ({problem}); this job starts one of its own", flush=True)
    return False


def _init(**options: Any) -> None:
    """ray.init, and a line that says where the dashboard and the logs are.

    What Ray's processes print goes to these logs alone: the lines that a person needs are our own, or end the job as an
    error. Of Ray's own lines in this process only what ends it is shown.
    """
    logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)
    # For the C++ part of this process: os.environ, which the processes of a new cluster are given, stays as it is.
    os.putenv("RAY_BACKEND_LOG_LEVEL", os.environ.get("RAY_BACKEND_LOG_LEVEL", "fatal"))
    with _quiet():
        context = ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
    address = context.address_info
    os.environ[ADDRESS] = address["gcs_address"]  # how Ray Train's actors find the state service
    dashboard = f"dashboard http://{context.dashboard_url}, " if context.dashboard_url else ""
    print(f"Ray: {dashboard}logs {address['session_dir']}/logs", flush=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing reaches standard error: Ray's C++ part writes a line there about the level of its log."""
    shown, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(shown, 2)
        os.close(shown)
        os.close(nowhere)


def _reason(error: Exception) -> str:
    return explained(error) or " ".join(str(error.__cause__ or error).split())


def _silence(address: str) -> str:
    """Why nothing answers at `address`; "" if something does. Ray itself would wait for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not port.isdigit():
        return ""  # Ray knows other forms, such as "auto"
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS).close()
    except OSError:
        return "nothing answers there any more"
    return ""


def cluster_size() -> dict[str, float]:
    """CPUs, GPUs and the like of the cluster that `ray_session` joins, or starts on this machine."""
    if join_cluster():
        return dict(ray.cluster_resources())
    return {"CPU": _local_cpus(), "GPU": NvidiaGPUAcceleratorManager.get_current_node_num_accelerators()}


def largest_cluster() -> dict[str, float] | None:
    """CPUs, GPUs and the like that the cluster of this process can grow to; None if it has no autoscaler that says."""
    limits = ray._private.state.state.get_max_resources_from_cluster_config() if ray.is_initialized() else None
    if limits is None:
        return None
    there = ray.cluster_resources()
    return {kind: max(limits.get(kind, 0), there.get(kind, 0)) for kind in limits.keys() | there.keys()}


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
