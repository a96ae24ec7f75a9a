"""What runs in the worker processes of a stage: its transform on blocks of rows, and what prepares them."""

from __future__ import annotations

import functools
import pickle
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
from ray.util.metrics import Counter as CounterMetric

from mmgic.stages.lifecycle import ERRORS, error_of, too_many_errors
from mmgic.stages.places import Places
from mmgic.stages.reporting import StageTally, reporting
from mmgic.stages.rows import Row, Transform, to_table
from mmgic.stages.stage import Stage

PREPARED = "prepared"  # column of what a stage's `prepare` returned, pickled


class Preparation:
    """A stage's `prepare` inside a worker process: what it returns travels beside the row."""

    def __init__(self, prepare: Callable[[Row], Any], places: Places, tally: StageTally) -> None:
        self.prepare = prepare
        self.places = places
        self.tally = tally

    def __call__(self, batch: pa.Table) -> pa.Table:
        with reporting(self.tally):
            prepared = [pickle.dumps(self.prepare(self.places.resolve(row))) for row in batch.to_pylist()]
        return batch.append_column(PREPARED, pa.array(prepared, pa.large_binary()))


class StageWorker:
    """A stage's transform inside a worker process, on Arrow tables."""

    def __init__(self, stage: Stage, places: Places, tally: StageTally, transform: Transform | None = None) -> None:
        self.stage = stage
        self.places = places
        self.tally = tally
        self.transform = transform

    def __call__(self, batch: pa.Table) -> pa.Table:
        rows = [self.places.resolve(row) for row in batch.to_pylist()]
        if self.stage.prepare is not None:
            rows = [{**row, PREPARED: pickle.loads(row[PREPARED])} for row in rows]
        with reporting(self.tally):
            # An actor makes its own now: had it been at its start, Ray would print the stack trace of an error.
            self.transform = self.transform or self.stage.make_transform()
            results = self.transform(rows)
            self._count(rows, results)
        return to_table([self.places.store(row) for row in results], self.stage.schema, self.stage.name)

    def _count(self, rows: list[Row], results: Sequence[Mapping[str, Any]]) -> None:
        """Counts a batch. Raises InputError once the stage has more errors than it may have."""
        if [row["row_id"] for row in results] != [row["row_id"] for row in rows]:
            raise RuntimeError(f"the transform of stage '{self.stage.name}' did not return one row for each row")
        for outcome, number in Counter(row["reason"] or "kept" for row in results).items():
            _metrics().inc(number, {"stage": self.stage.name, "outcome": outcome})
        errors = [row for row in results if row["reason"] in ERRORS]
        within_limit = not rows or self.tally.add(rows[0]["row_id"], len(rows), len(errors))
        if errors and not within_limit:
            limit, output = self.stage.resources.max_error_rate, self.places.folder(self.stage.name)
            raise too_many_errors(self.stage.name, output, f"such as {error_of(errors[-1])}", limit)


@functools.cache
def _metrics() -> CounterMetric:
    return CounterMetric(
        "mmgic_rows", "Rows that the data stages made, kept or by reason", tag_keys=("stage", "outcome")
    )
