"""What the workers of a stage tell the driver: how far they are, and why they cannot go on."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.metrics import Gauge

from mmgic.errors import InputError, explained
from mmgic.stages.progress import Tallies, progress_line

# What Ray raises if a process, a machine or its room is gone, and not the work in it
_LOST = (
    ray.exceptions.WorkerCrashedError,
    ray.exceptions.RayActorError,
    ray.exceptions.OutOfMemoryError,
    ray.exceptions.OutOfDiskError,
    ray.exceptions.ObjectStoreFullError,
    ray.exceptions.ObjectLostError,
    ray.exceptions.NodeDiedError,
    ray.exceptions.RaySystemError,
    ray.exceptions.LocalRayletDiedError,
)


@dataclass(frozen=True)
class StageTally:
    """The `Tally` of one run of a stage, in the driver and in its workers."""

    tallies: Any  # an actor
    run: str
    most_errors: float

    def add(self, first_id: int, rows: int, errors: int) -> bool:
        return bool(self._call("add", first_id, rows, errors))

    def fail(self, problem: str) -> None:
        self._call("fail", problem)

    def problem(self) -> str:
        return str(self._call("problem"))

    def rows(self) -> int:
        return int(self._call("rows"))

    def _call(self, method: str, *arguments: Any) -> Any:
        return ray.get(self.tallies.call.remote(self.run, self.most_errors, method, *arguments))


def start_tally(most_errors: float) -> StageTally:
    context = ray.get_runtime_context()
    return StageTally(_tallies(context.gcs_address, context.get_job_id()), secrets.token_hex(8), most_errors)


@functools.cache
def _tallies(cluster: str, job: str) -> Any:
    """One actor for all stages of a driver, for a process takes a second to start. It lives as long as it is kept."""
    return ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Tallies).remote()


def stage_progress(name: str, total: int | None, tally: StageTally) -> Any:
    """The stage's line for a person, and its gauges for Ray's metrics (beside Ray Data's own, by operator)."""
    speed = Gauge("mmgic_rows_per_second", "Rows a second of a stage since it started", tag_keys=("stage",))
    waiting = Gauge("mmgic_rows_waiting", "Rows that a stage has not made yet", tag_keys=("stage",))

    def watch(done: int, rate: float) -> None:
        speed.set(rate, {"stage": name})
        if total is not None:
            waiting.set(total - done, {"stage": name})

    return progress_line(name, total, tally.rows, watch)


@contextmanager
def reporting(tally: StageTally) -> Iterator[None]:
    """In a worker: hands the sentence of an error to the driver, where only a stack trace would arrive."""
    try:
        yield
    except Exception as error:
        if sentence := explained(error):
            tally.fail(sentence)
        raise


@contextmanager
def sentences(output: str, tally: StageTally | None = None) -> Iterator[None]:
    """In the driver: what Ray raises for work on `output` becomes an InputError, unless it is a fault of ours.

    A sentence that a worker reported to `tally` is the first to be told.
    """
    try:
        yield
    except ray.exceptions.RayError as error:
        sentence = (tally.problem() if tally else "") or explained(error, output)
        if not sentence and (how := lost(error)):
            sentence = (
                f"a process that worked on {output} was lost ({how}); if it was for memory or disk, "
                "give the machine more of it or lower cluster.rows_per_block, and run again"
            )
        if not sentence:
            raise  # its stack trace is wanted
        raise InputError(sentence) from None


def lost(error: BaseException) -> str:
    """What Ray says of a process, a machine or its room that is gone; "" if `error` tells of none."""
    return str(error).strip().partition("\n")[0] if isinstance(error, _LOST) else ""
