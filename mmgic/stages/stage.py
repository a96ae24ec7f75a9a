"""How a stage runs on Ray Data: the kept rows of one table in, one row out for each, in blocks that survive a kill.

Ray Data's job checkpointing does the resuming. What it needs is arranged here, once: a row_id in every row, blocks cut
before the work (a block is what a kill can cost), nothing filtered between reading and writing, a CPU left for the
actor that skips finished rows, and a manifest written last (a checkpoint alone lets a finished stage run twice).
"""

from __future__ import annotations

import functools
import logging
import operator
import os
import pickle
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext, Dataset, TaskPoolStrategy
from ray.data.checkpoint import CheckpointConfig
from ray.data.expressions import col, lit
from ray.util.metrics import Counter as CounterMetric
from ray.util.metrics import Gauge

from mmgic.errors import InputError
from mmgic.schema import reject
from mmgic.stages import tables
from mmgic.stages.lifecycle import ERRORS, begin, checkpoint_folder, finish, too_many_errors
from mmgic.stages.progress import Tally, progress_line
from mmgic.stages.rows import Row, Transform, to_table
from mmgic.stages.tables import Manifest

T = TypeVar("T")

LOCAL_CPUS = 6  # logical CPUs of a cluster that starts here, at least
PREPARED = "prepared"  # column of what a stage's `prepare` returned, pickled
OTHER_CPUS = 2  # logical CPUs that an actor pool leaves to reading, writing and skipping finished rows


@dataclass(frozen=True)
class Stage:
    """One table made from another. Its rows depend on `settings` and on the table read, and on nothing else.

    The rows of a stage that asks the net or a server are not `repeatable`: made once more, they are another table.
    """

    name: str
    table: str  # folder that is read
    output: str  # folder that is written
    schema: pa.Schema
    make_transform: Callable[[], Transform]  # called only if the table is not finished
    settings: Mapping[str, Any]
    actors: bool = False  # the transform is made in each of the workers, as a model is; otherwise once, and sent along
    prepare: Callable[[Row], Any] | None = None  # CPU work on a row before the transform, which finds it in `prepared`
    prepare_workers: int = 2
    sources: tuple[str, ...] = ()  # reads the rows of these sources alone; empty: all
    workers: int = 2
    gpus: float = 0  # of each actor
    rows_per_block: int = 2000
    rows_per_call: int = 100
    max_error_rate: float = 0.05
    repeatable: bool = True


@contextmanager
def ray_session() -> Iterator[None]:
    """Joins the cluster that a job was submitted to or RAY_ADDRESS names; otherwise starts one on this machine."""
    if ray.is_initialized():
        yield
        return
    if os.environ.get("RAY_ADDRESS"):
        ray.init()
    else:
        # The stages' own small actors need logical CPUs beside the work, also on a laptop of two cores. The dashboard's
        # state service is what Ray Train cleans up with, and the address is how its actors find this cluster's.
        cluster = ray.init(address="local", num_cpus=max(LOCAL_CPUS, os.cpu_count() or 1), include_dashboard=True)
        os.environ["RAY_ADDRESS"] = cluster.address_info["gcs_address"]
    try:
        yield
    finally:
        ray.shutdown()


def run_stage(stage: Stage) -> Manifest:
    """Makes the stage's table, or goes on where a run was killed, or returns at once if the table is finished.

    Raises InputError if the table was begun with other settings, if there is nothing to read, if more than
    `max_error_rate` of the rows are errors, and if the rows written are not exactly the rows read.
    """
    started = time.monotonic()
    output = tables.absolute(stage.output)
    source = tables.read_manifest(stage.table)
    if source is None:
        raise InputError(f"{stage.table} is not finished; run the stage that makes it first")
    settings = {**stage.settings, "sources": list(stage.sources)}
    fingerprint, done = begin(output, stage.name, settings, source.fingerprint, stage.repeatable)
    if done is not None:
        return done

    selection, table = tables.select(stage.sources), tables.open_table(stage.table)
    rows = table.count_rows(filter=selection)
    if not rows:
        raise InputError(f"no row of {stage.table} was kept for stage '{stage.name}' ({source.summary()})")
    tally = _tally(stage.max_error_rate * rows)
    with _progress(stage.name, rows, tally):
        _write_rows(stage, output, tally)
    written = tables.open_table(output)
    tables.check_same_ids(table, written, selection, rows)
    manifest = Manifest(stage.name, fingerprint, rows, **tables.count(written), seconds=time.monotonic() - started)
    return finish(output, manifest, stage.max_error_rate)


def ingest(
    name: str,
    output: str,
    schema: pa.Schema,
    readers: Sequence[Callable[[], Iterable[Row]]],
    settings: Mapping[str, Any],
    rows_per_file: int = 2000,
    max_error_rate: float = 0.05,
) -> Manifest:
    """Makes the first table of all from `readers`, each streamed by one task into files of `rows_per_file` rows.

    A reader that was killed begins again and writes the same files; one that ended is not read again. `settings` must
    tell the readers' data from any other, by digests of the files. Raises InputError like `run_stage`, and where two
    rows have one row_id.
    """
    started = time.monotonic()
    output = tables.absolute(output)
    fingerprint, done = begin(output, name, settings, "")
    if done is not None:
        return done

    tally = _tally(0)
    with _progress(name, None, tally):
        read = ray.remote(_read_rows)
        tasks = [
            read.remote(reader, output, number, schema, rows_per_file, tally) for number, reader in enumerate(readers)
        ]
        try:
            rows = sum(ray.get(tasks))
        except ray.exceptions.RayError as error:
            for task in tasks:
                ray.cancel(task)
            _raise_problem(tally)
            if isinstance(error, ray.exceptions.RayTaskError):  # a fault of ours: its stack trace is wanted
                raise
            raise InputError(
                f"a process that read the sources of {output} was killed ({_first_line(error)}); if it was for memory, "
                "give the machine more of it or lower cluster.rows_per_block, and run again"
            ) from None
    if not rows:
        raise InputError(f"the sources hold no images, so {output} stays empty; check their 'path' and 'annotations'")
    written = tables.open_table(output)
    tables.check_ids(written, rows)
    manifest = Manifest(name, fingerprint, rows, **tables.count(written), seconds=time.monotonic() - started)
    return finish(output, manifest, max_error_rate)


def _read_rows(
    reader: Callable[[], Iterable[Row]], output: str, number: int, schema: pa.Schema, rows_per_file: int, tally: Any
) -> int:
    """Writes the rows of one reader and returns their number."""
    note = f"{checkpoint_folder(output)}/{number}"
    if (before := tables.read_text(note)) is not None:
        return int(before)
    total = 0
    with _reporting(tally):
        rows = iter(reader())
        while block := list(islice(rows, rows_per_file)):
            path = f"{output}/part-{number:03}-{total // rows_per_file:06}.parquet"
            tables.write_part(path, _refused_aside(block, schema))
            total += len(block)
            tally.add.remote(block[0]["row_id"], len(block), 0)
    tables.write_text(note, str(total))
    return total


def _refused_aside(rows: list[Row], schema: pa.Schema) -> pa.Table:
    """`to_table` of what a reader made. A row that Arrow refuses, as for a number too large, is set aside."""
    try:
        return to_table(rows, schema)
    except (pa.ArrowException, UnicodeError, OverflowError, TypeError, ValueError) as error:
        if len(rows) > 1:
            middle = len(rows) // 2
            return pa.concat_tables([_refused_aside(half, schema) for half in (rows[:middle], rows[middle:])])
        [row] = rows
        problem = f"the record cannot be stored ({type(error).__name__}: {error})"
        known = {name: row[name] for name in ("row_id", "source", "image_id")}
        return to_table([{**known, **reject("bad_record", problem.encode(errors="replace").decode())}], schema)


def fold(table: str, partial: Callable[[list[Row]], T], workers: int = 2) -> T:
    """Sums what `partial` returns for each block of a table's rows, kept or not. For small results: counts.

    Results are added with +=, to what `partial` returns for no rows: in place, where their type can.
    """

    def block(batch: pa.Table) -> pa.Table:
        return pa.table({"partial": [pickle.dumps(partial(batch.to_pylist()))]})

    blocks = map_blocks(table, block, workers)
    results = (pickle.loads(result.as_py()) for part in blocks for result in part.column("partial"))
    return functools.reduce(operator.iadd, results, partial([]))


def map_blocks(
    table: str, work: Callable[[pa.Table], pa.Table], workers: int = 2, columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """What `work` returns for each block of a table's rows, kept or not, in any order; it sees `columns` alone."""
    with DataContext.current(execution_context()):
        parts = ray.data.read_parquet(
            tables.absolute(table), columns=None if columns is None else list(columns), partitioning=None
        ).map_batches(work, batch_size=None, batch_format="pyarrow", compute=TaskPoolStrategy(size=workers))
        yield from parts.iter_batches(batch_size=None, batch_format="pyarrow")


def _write_rows(stage: Stage, output: str, tally: Any) -> None:
    """Runs what is left of the stage with Ray Data and leaves Parquet files in `output`."""
    # first of all, as making it may run passes of its own
    transform = None if stage.actors else stage.make_transform()
    context = execution_context()
    context.checkpoint_config = CheckpointConfig(
        "row_id", checkpoint_folder(output), delete_checkpoint_on_success=False
    )
    # One actor skips finished rows as fast as they are read; ten of them would starve a small cluster of CPUs.
    context.checkpoint_config.checkpoint_actor_pool_max_size = 1
    batches: dict[str, Any] = {"batch_size": stage.rows_per_call, "batch_format": "pyarrow"}
    with DataContext.current(context):
        blocks = _kept_rows(stage.table, stage.sources).repartition(target_num_rows_per_block=stage.rows_per_block)
        if stage.prepare is not None:
            prepare = _Preparation(stage.prepare, tally)
            blocks = blocks.map_batches(
                prepare.__call__, compute=TaskPoolStrategy(size=stage.prepare_workers), **batches
            )
        if transform is None:
            made = blocks.map_batches(
                _Worker,
                fn_constructor_args=(stage, tally),
                compute=ActorPoolStrategy(size=stage.workers),
                num_cpus=_actor_cpus(stage.workers),
                num_gpus=stage.gpus,
                **batches,
            )
        else:
            worker = _Worker(stage, tally, transform)
            made = blocks.map_batches(worker.__call__, compute=TaskPoolStrategy(size=stage.workers), **batches)
        # What `prepare` returns cuts blocks small (Ray keeps them under 128 MiB); the files need not be.
        files = {"min_rows_per_file": stage.rows_per_block} if stage.prepare else {}
        try:
            # as many tasks as the work has, so that a block is made and written by one task
            made.write_parquet(output, concurrency=stage.workers, **files)
        except ray.exceptions.RayError:
            _raise_problem(tally)
            raise


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


def _kept_rows(table: str, sources: Sequence[str]) -> Dataset:
    # The reader itself applies this filter: rows that are not part of the stage never meet the checkpoint.
    kept = col("keep") == lit(True)
    if sources:
        kept = kept & col("source").is_in(list(sources))
    return ray.data.read_parquet(tables.absolute(table), partitioning=None).filter(expr=kept)


def _actor_cpus(workers: int) -> float:
    """Logical CPUs of each actor of a pool, such that the pool never starves the operators around it."""
    cluster: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    spare = cluster.get("CPU", 0) - OTHER_CPUS
    return int(100 * max(0.0, min(1.0, spare / workers))) / 100


class _Preparation:
    """A stage's `prepare` inside a worker process: what it returns travels beside the row."""

    def __init__(self, prepare: Callable[[Row], Any], tally: Any) -> None:
        self.prepare = prepare
        self.tally = tally

    def __call__(self, batch: pa.Table) -> pa.Table:
        with _reporting(self.tally):
            prepared = [pickle.dumps(self.prepare(row)) for row in batch.to_pylist()]
        return batch.append_column(PREPARED, pa.array(prepared, pa.large_binary()))


class _Worker:
    """A stage's transform inside a worker process, on Arrow tables."""

    def __init__(self, stage: Stage, tally: Any, transform: Transform | None = None) -> None:
        self.stage = stage
        self.tally = tally
        self.transform = transform

    def __call__(self, batch: pa.Table) -> pa.Table:
        rows = batch.to_pylist()
        if self.stage.prepare is not None:
            rows = [{**row, PREPARED: pickle.loads(row[PREPARED])} for row in rows]
        with _reporting(self.tally):
            # An actor makes its own now: had it been at its start, Ray would print the stack trace of an error.
            self.transform = self.transform or self.stage.make_transform()
            results = self.transform(rows)
            self._count(rows, results)
        return to_table(results, self.stage.schema)

    def _count(self, rows: list[Row], results: list[Row]) -> None:
        """Counts a batch. Raises InputError once the stage has more errors than it may have."""
        if [row["row_id"] for row in results] != [row["row_id"] for row in rows]:
            raise RuntimeError(f"the transform of stage '{self.stage.name}' did not return one row for each row")
        for outcome, number in Counter(row["reason"] or "kept" for row in results).items():
            _metrics().inc(number, {"stage": self.stage.name, "outcome": outcome})
        errors = [f"{row['reason']}: {row['detail']}" for row in results if row["reason"] in ERRORS]
        within_limit = not rows or ray.get(self.tally.add.remote(rows[0]["row_id"], len(rows), len(errors)))
        if errors and not within_limit:
            output, limit = tables.absolute(self.stage.output), self.stage.max_error_rate
            raise too_many_errors(self.stage.name, output, f"such as {errors[-1]}", limit)


@functools.cache
def _metrics() -> CounterMetric:
    return CounterMetric(
        "mmgic_rows", "Rows that the data stages made, kept or by reason", tag_keys=("stage", "outcome")
    )


def _progress(name: str, total: int | None, tally: Any) -> Any:
    """The stage's line for a person, and its gauges for Ray's metrics (beside Ray Data's own, by operator)."""
    speed = Gauge("mmgic_rows_per_second", "Rows a second of a stage since it started", tag_keys=("stage",))
    waiting = Gauge("mmgic_rows_waiting", "Rows that a stage has not made yet", tag_keys=("stage",))

    def watch(done: int, rate: float) -> None:
        speed.set(rate, {"stage": name})
        if total is not None:
            waiting.set(total - done, {"stage": name})

    return progress_line(name, total, lambda: int(ray.get(tally.rows.remote())), watch)


def _tally(most_errors: float) -> Any:
    return ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Tally).remote(most_errors)


@contextmanager
def _reporting(tally: Any) -> Iterator[None]:
    """In a worker: hands the sentence of an InputError to the driver, where only a stack trace would arrive."""
    try:
        yield
    except InputError as error:
        ray.get(tally.fail.remote(str(error)))
        raise


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _raise_problem(tally: Any) -> None:
    """In the driver: raises the InputError that a worker reported, if one did."""
    if problem := ray.get(tally.problem.remote()):
        raise InputError(problem) from None
