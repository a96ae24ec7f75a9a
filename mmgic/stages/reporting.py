"""What the workers of a stage tell the driver: how far they are, and why they cannot go on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.util.metrics import Gauge

from mmgic.errors import InputError
from mmgic.stages.progress import Tally, progress_line


def start_tally(most_errors: float) -> Any:
    return ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Tally).remote(most_errors)


def stage_progress(name: str, total: int | None, tally: Any) -> Any:
    """The stage's line for a person, and its gauges for Ray's metrics (beside Ray Data's own, by operator)."""
    speed = Gauge("mmgic_rows_per_second", "Rows a second of a stage since it started", tag_keys=("stage",))
    waiting = Gauge("mmgic_rows_waiting", "Rows that a stage has not made yet", tag_keys=("stage",))

    def watch(done: int, rate: float) -> None:
        speed.set(rate, {"stage": name})
        if total is not None:
            waiting.set(total - done, {"stage": name})

    return progress_line(name, total, lambda: int(ray.get(tally.rows.remote())), watch)


@contextmanager
def reporting(tally: Any) -> Iterator[None]:
    """In a worker: hands the sentence of an InputError to the driver, where only a stack trace would arrive."""
    try:
        yield
    except InputError as error:
        ray.get(tally.fail.remote(str(error)))
        raise


def raise_problem(tally: Any) -> None:
    """In the driver: raises the InputError that a worker reported, if one did."""
    if problem := ray.get(tally.problem.remote()):
        raise InputError(problem) from None
