"""Passes over a whole table that make no table: counts, and results of each block."""

from __future__ import annotations

import functools
import operator
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import pyarrow as pa
import ray
from ray.data import DataContext, TaskPoolStrategy

from mmgic.stages.reporting import sentences
from mmgic.stages.rows import Row
from mmgic.stages.session import execution_context
from mmgic.stages.tables import Table

T = TypeVar("T")


def fold(table: Table, partial: Callable[[list[Row]], T], workers: int = 2) -> T:
    """Sums what `partial` returns for each block of a table's rows, kept or not. For small results: counts.

    Results are added with +=, to what `partial` returns for no rows: in place, if their type can.
    """

    def block(batch: pa.Table) -> pa.Table:
        return pa.table({"partial": [pickle.dumps(partial(batch.to_pylist()))]})

    blocks = map_blocks(table, block, workers)
    results = (pickle.loads(result.as_py()) for part in blocks for result in part.column("partial"))
    return functools.reduce(operator.iadd, results, partial([]))


def map_blocks(
    table: Table, work: Callable[[pa.Table], pa.Table], workers: int = 2, columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """What `work` returns for each block of a table's rows, kept or not, in any order; it sees `columns` alone."""
    with DataContext.current(execution_context()), sentences(table.folder):
        parts = ray.data.read_parquet(
            table.folder, columns=None if columns is None else list(columns), partitioning=None
        ).map_batches(work, batch_size=None, batch_format="pyarrow", compute=TaskPoolStrategy(size=workers))
        yield from parts.iter_batches(batch_size=None, batch_format="pyarrow")
