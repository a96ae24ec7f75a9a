"""How a stage runs on Ray Data: the kept rows of one table in, one row out for each, in blocks that survive a kill.

Ray Data's job checkpointing does the resuming. What it needs is arranged here, once: a row_id in every row, blocks cut
before the work (a block is what a kill can cost), nothing filtered between reading and writing, a CPU left for the
actor that skips finished rows, and a manifest written last (a checkpoint alone lets a finished stage run twice).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import ray
from ray.data import ActorPoolStrategy, DataContext, Dataset, TaskPoolStrategy
from ray.data.checkpoint import CheckpointConfig
from ray.data.expressions import col, lit

from mmgic.errors import InputError
from mmgic.stages import tables
from mmgic.stages.lifecycle import begin, checkpoint_folder, finish
from mmgic.stages.places import Places
from mmgic.stages.reporting import StageTally, sentences, stage_progress, start_tally
from mmgic.stages.session import execution_context
from mmgic.stages.stage import Stage
from mmgic.stages.tables import Manifest, Table
from mmgic.stages.workers import Preparation, StageWorker

OTHER_CPUS = 2  # logical CPUs that an actor pool leaves to reading, writing and skipping finished rows


def run_stage(stage: Stage, table: Table, places: Places) -> Table:
    """Makes the stage's table of `table`, or goes on where a run was killed, or returns at once if it is finished.

    Raises InputError if the table was begun with other settings, if there is nothing to read, if more than
    `max_error_rate` of the rows are errors, and if the rows written are not exactly the rows read.
    """
    started = time.monotonic()
    output = places.folder(stage.name)
    settings = {**stage.settings, "sources": list(stage.sources)}
    fingerprint, done = begin(output, stage.name, settings, table.manifest.fingerprint, stage.repeatable)
    if done is not None:
        return done

    selection, read = tables.select(stage.sources), tables.open_table(table.folder)
    rows = read.count_rows(filter=selection)
    if not rows:
        raise InputError(f"no row of {table.folder} was kept for stage '{stage.name}' ({table.manifest.summary()})")
    max_error_rate = stage.resources.max_error_rate
    tally = start_tally(max_error_rate * rows)
    with stage_progress(stage.name, rows, tally), sentences(output, tally):
        _write_rows(stage, table, places, tally)
    written = tables.open_table(output)
    tables.check_same_ids(read, written, selection, rows)
    manifest = Manifest(stage.name, fingerprint, rows, **tables.count(written), seconds=time.monotonic() - started)
    return finish(output, manifest, max_error_rate)


def _write_rows(stage: Stage, table: Table, places: Places, tally: StageTally) -> None:
    """Runs what is left of the stage with Ray Data and leaves Parquet files in the stage's folder."""
    resources, output = stage.resources, places.folder(stage.name)
    # first of all, as making it may run passes of its own
    transform = None if stage.actors else stage.make_transform()
    context = execution_context()
    context.checkpoint_config = CheckpointConfig(
        "row_id", checkpoint_folder(output), delete_checkpoint_on_success=False
    )
    # One actor skips finished rows as fast as they are read; ten of them would starve a small cluster of CPUs.
    context.checkpoint_config.checkpoint_actor_pool_max_size = 1
    batches: dict[str, Any] = {"batch_size": resources.rows_per_call, "batch_format": "pyarrow"}
    with DataContext.current(context):
        blocks = _kept_rows(table, stage.sources).repartition(target_num_rows_per_block=resources.rows_per_block)
        if stage.prepare is not None:
            prepare = Preparation(stage.prepare, places, tally)
            blocks = blocks.map_batches(
                prepare.__call__, compute=TaskPoolStrategy(size=resources.prepare_workers), **batches
            )
        if transform is None:
            made = blocks.map_batches(
                StageWorker,
                fn_constructor_args=(stage, places, tally),
                compute=ActorPoolStrategy(size=resources.workers),
                num_cpus=_actor_cpus(resources.workers),
                num_gpus=resources.gpus,
                **batches,
            )
        else:
            worker = StageWorker(stage, places, tally, transform)
            made = blocks.map_batches(worker.__call__, compute=TaskPoolStrategy(size=resources.workers), **batches)
        # What `prepare` returns cuts blocks small (Ray keeps them under 128 MiB); the files need not be.
        files = {"min_rows_per_file": resources.rows_per_block} if stage.prepare else {}
        # as many tasks as the work has, so that a block is made and written by one task
        made.write_parquet(output, concurrency=resources.workers, **files)


def _kept_rows(table: Table, sources: Sequence[str]) -> Dataset:
    # The reader itself applies this filter: rows that are not part of the stage never meet the checkpoint.
    kept = col("keep") == lit(True)
    if sources:
        kept = kept & col("source").is_in(list(sources))
    return ray.data.read_parquet(table.folder, partitioning=None).filter(expr=kept)


def _actor_cpus(workers: int) -> float:
    """Logical CPUs of each actor of a pool, such that the pool never starves the operators around it."""
    cluster: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    spare = cluster.get("CPU", 0) - OTHER_CPUS
    return int(100 * max(0.0, min(1.0, spare / workers))) / 100
