"""How the first table of a corpus is made: records are read from the sources' files, one task for each source."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import pyarrow as pa
import ray

from mmgic.errors import InputError
from mmgic.files import read_text, write_text
from mmgic.schema import reject
from mmgic.stages import tables
from mmgic.stages.lifecycle import begin, checkpoint_folder, finish
from mmgic.stages.places import Places
from mmgic.stages.reporting import StageTally, reporting, sentences, stage_progress, start_tally
from mmgic.stages.rows import Row, to_table
from mmgic.stages.tables import Manifest, Table


def ingest(
    name: str,
    places: Places,
    schema: pa.Schema,
    readers: Sequence[Callable[[], Iterable[Mapping[str, Any]]]],
    settings: Mapping[str, Any],
    rows_per_file: int = 2000,
    max_error_rate: float = 0.05,
) -> Table:
    """Makes the table `name`, the first of all, from `readers`.

    Each is streamed by one task into files of `rows_per_file` rows. A reader that was killed begins again and writes
    the same files; one that ended is not read again. `settings` must tell the readers' data from any other, by digests
    of the files. Raises InputError like `run_stage`, and if two rows have one row_id.
    """
    started = time.monotonic()
    output = places.folder(name)
    fingerprint, done = begin(output, name, settings, "")
    if done is not None:
        return done

    tally = start_tally(0)
    with stage_progress(name, None, tally), sentences(output, tally):
        read = ray.remote(_read_rows)
        # The others are not cancelled if one fails, for Ray may abort with them: they stop at their next block.
        rows = sum(
            ray.get(
                [
                    read.remote(reader, name, places, number, schema, rows_per_file, tally)
                    for number, reader in enumerate(readers)
                ]
            )
        )
    if not rows:
        raise InputError(f"the sources hold no images, so {output} stays empty; check their 'path' and 'annotations'")
    written = tables.open_table(output)
    tables.check_ids(written, rows)
    manifest = Manifest(name, fingerprint, rows, **tables.count(written), seconds=time.monotonic() - started)
    return finish(output, manifest, max_error_rate)


def _read_rows(
    reader: Callable[[], Iterable[Mapping[str, Any]]],
    name: str,
    places: Places,
    number: int,
    schema: pa.Schema,
    rows_per_file: int,
    tally: StageTally,
) -> int:
    """Writes the rows of one reader and returns their number."""
    output = places.folder(name)
    note = f"{checkpoint_folder(output)}/{number}"
    if (before := read_text(note)) is not None:
        return int(before)
    total = 0
    with reporting(tally):
        rows = map(places.store, reader())
        while block := list(islice(rows, rows_per_file)):
            path = f"{output}/part-{number:03}-{total // rows_per_file:06}.parquet"
            tables.write_part(path, _refused_aside(block, schema, name))
            total += len(block)
            tally.add(block[0]["row_id"], len(block), 0)
            if tally.problem():
                return total  # another source cannot be read
        write_text(note, str(total))
    return total


def _refused_aside(rows: list[Row], schema: pa.Schema, stage: str) -> pa.Table:
    """`to_table` of what a reader made. A row that cannot be stored, as for a number too large, is set aside."""
    try:
        return to_table(rows, schema, stage)
    except (pa.ArrowException, UnicodeError, OverflowError, TypeError, ValueError) as error:
        if len(rows) > 1:
            middle = len(rows) // 2
            return pa.concat_tables([_refused_aside(half, schema, stage) for half in (rows[:middle], rows[middle:])])
        [row] = rows
        problem = f"the record cannot be stored ({type(error).__name__}: {error})"
        known = {name: row[name] for name in ("row_id", "source", "image_id")}
        return to_table([{**known, **reject("bad_record", problem.encode(errors="replace").decode())}], schema)
