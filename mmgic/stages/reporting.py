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

from mmgic.errors import InputError
from mmgic.stages.progress import Tallies, progress_line


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
    """In a worker: hands the sentence of an InputError to the driver, where only a stack trace would arrive."""
    try:
        yield
    except InputError as error:
        tally.fail(str(error))
        raise


def raise_problem(tally: StageTally) -> None:
    """In the driver: raises the InputError that a worker reported, if one did."""
    if problem := tally.problem():
        raise InputError(problem) from None
