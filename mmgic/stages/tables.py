"""The table of one stage on disk: a folder of Parquet files, `settings.yaml`, and `manifest.json` once it is finished.

A folder is any fsspec path. A table is finished if and only if its manifest is there: it is written last.
"""

from __future__ import annotations

import dataclasses
import json
import posixpath
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.parquet as pq

from mmgic.errors import InputError
from mmgic.files import filesystem_of, find_files, read_mapping, whole_file, write_text
from mmgic.paths import absolute

MANIFEST = "manifest.json"
SETTINGS = "settings.yaml"
IDS_PER_PASS = 1 << 24  # ids that are compared at once: 128 MiB a table


@dataclass(frozen=True)
class Manifest:
    """What a finished stage did. Counts are rows, but `drops` counts what was taken out of its rows so far."""

    name: str  # of the stage
    fingerprint: str  # of the stage's settings and, through its input's fingerprint, of all that came before
    rows_in: int
    rows_out: int
    kept: int
    reasons: dict[str, int]  # why rows were set aside
    drops: dict[str, int]
    sources: dict[str, dict[str, int]]  # rows and kept rows of each source
    seconds: float  # of the run that finished the stage

    def summary(self) -> str:
        reasons = ", ".join(f"{reason} {number:,}" for reason, number in self.reasons.items())
        return (
            f"{self.name}: {self.rows_in:,} rows in, {self.kept:,} kept, {self.rows_out - self.kept:,} set aside"
            f"{f' ({reasons})' if reasons else ''}; {self.seconds:.1f} s"
        )


@dataclass(frozen=True)
class Table:
    """A finished table: where it lies, and what its making did."""

    folder: str
    manifest: Manifest

    @property
    def name(self) -> str:
        """The name of the stage that made it."""
        return self.manifest.name

    @property
    def corpus(self) -> str:
        return self.name.partition("/")[0]


def find_table(folder: str) -> Table | None:
    """The table in `folder`, or None if it is not finished."""
    manifest = read_manifest(folder)
    return None if manifest is None else Table(absolute(folder), manifest)


def read_table(folder: str) -> Table:
    """The table in `folder`. Raises InputError if it is not finished."""
    table = find_table(folder)
    if table is None:
        raise InputError(f"{folder} is not finished; run the stage that makes it first")
    return table


def read_manifest(folder: str) -> Manifest | None:
    """The manifest of a finished table, or None. Raises InputError if the file is not a manifest."""
    path = posixpath.join(absolute(folder), MANIFEST)
    fields = read_mapping(path, f"delete {folder} and run again")
    if fields is None:
        return None
    try:
        return Manifest(**fields)
    except TypeError:
        raise InputError(f"{path} is not a manifest of this version; delete {folder} and run again") from None


def write_manifest(folder: str, manifest: Manifest) -> None:
    write_text(posixpath.join(folder, MANIFEST), json.dumps(dataclasses.asdict(manifest), indent=2) + "\n")


def open_table(*folders: str) -> pyarrow.dataset.Dataset:
    """The Parquet files of one table, or of several with one schema. Raises InputError if there are none."""
    filesystem, _ = filesystem_of(absolute(folders[0]))
    found = [file for folder in folders for file in find_files(posixpath.join(absolute(folder), "*.parquet"))]
    files = [filesystem_of(file)[1] for file in found]
    if not files:
        raise InputError(f"{folders[0]} holds no table; run the stage that makes it first")
    return pyarrow.dataset.dataset(files, filesystem=filesystem, format="parquet")


def finished_tables(folder: str) -> list[Table]:
    """The finished tables in `folder`, itself or at any depth below it, each after the one that it was made from."""
    root = absolute(folder)
    filesystem, path = filesystem_of(root)
    manifests = (file for file in filesystem.find(path) if posixpath.basename(file) == MANIFEST)
    below = (posixpath.relpath(posixpath.dirname(manifest), path) for manifest in manifests)
    folders = [root if name == "." else posixpath.join(root, name) for name in below]
    found = [table for folder in folders if (table := find_table(folder))]
    made_from = {table.manifest.fingerprint: _input(table) for table in found if table.manifest.fingerprint}

    def depth(table: Table) -> int:
        steps, fingerprint = 0, _input(table)
        while fingerprint in made_from:
            steps, fingerprint = steps + 1, made_from[fingerprint]
        return steps

    return sorted(found, key=lambda table: (depth(table), table.folder))


def _input(table: Table) -> str:
    """The fingerprint of the table that it was made from, "" if it is the first or does not say."""
    recipe = read_mapping(posixpath.join(table.folder, SETTINGS), f"delete {table.folder} and run again")
    return str(recipe.get("input", "")) if recipe else ""


def select(sources: Sequence[str] = ()) -> pc.Expression:
    """The kept rows, of these sources alone if some are named."""
    kept = pc.field("keep")
    return kept & pc.field("source").isin(list(sources)) if sources else kept


def check_ids(table: pyarrow.dataset.Dataset, rows: int) -> None:
    """Raises InputError if two of the `rows` rows have one row_id. Memory does not grow with the table."""
    for ids in _sorted_ids(table, rows, None):
        repeated = ids[1:][ids[1:] == ids[:-1]]
        if len(repeated):
            twice = table.to_table(columns=["source", "image_id"], filter=pc.field("row_id") == int(repeated[0]))
            names = " and ".join(f"{row['source']}:{row['image_id']}" for row in twice.slice(0, 2).to_pylist())
            raise InputError(
                f"{len(repeated)} row ids occur more than once (first: {names}); delete the table and run again, and "
                "rename a source if it happens again"
            )


def check_same_ids(
    read: pyarrow.dataset.Dataset, written: pyarrow.dataset.Dataset, selection: pc.Expression, rows: int
) -> None:
    """Raises InputError unless `written` has exactly the rows of `read` that `selection` selects, each once."""
    check_ids(written, rows)
    both = zip(_sorted_ids(read, rows, selection), _sorted_ids(written, rows, None), strict=True)
    lost = gained = 0
    for expected, found in both:
        lost += len(np.setdiff1d(expected, found, assume_unique=True))
        gained += len(np.setdiff1d(found, expected, assume_unique=True))
    if lost or gained:
        raise InputError(
            f"{lost} of {rows} rows are missing from the result and {gained} in it were never read; delete the table "
            "and run again"
        )


def _sorted_ids(
    table: pyarrow.dataset.Dataset, rows: int, selection: pc.Expression | None
) -> Iterator[np.ndarray[Any, Any]]:
    """The row ids, sorted, in as many parts (by remainder) as keep a part small."""
    passes = -(-rows // IDS_PER_PASS) or 1
    for remainder in range(passes):
        parts = [np.empty(0, np.int64)]
        for batch in table.to_batches(columns=["row_id"], filter=selection):
            ids = batch.column("row_id").to_numpy()
            parts.append(ids[ids % passes == remainder])
        yield np.sort(np.concatenate(parts))


def count(table: pyarrow.dataset.Dataset) -> dict[str, Any]:
    """The counts of a Manifest: rows_out, kept, reasons, drops, sources. Streams the table."""
    reasons: Counter[str] = Counter()
    drops: Counter[str] = Counter()
    rows: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    has_drops = "drops" in table.schema.names
    for batch in table.to_batches(columns=["source", "keep", "reason", *(["drops"] if has_drops else [])]):
        rows.update(_values(batch.column("source")))
        kept.update(_values(batch.filter(batch.column("keep")).column("source")))
        reasons.update(_values(batch.filter(pc.invert(batch.column("keep"))).column("reason")))
        if has_drops:
            entries = pa.table(batch.column("drops").flatten().flatten(), names=["reason", "count"])
            for entry in entries.group_by("reason").aggregate([("count", "sum")]).to_pylist():
                drops[entry["reason"]] += entry["count_sum"]
    return {
        "rows_out": rows.total(),
        "kept": kept.total(),
        "reasons": dict(sorted(reasons.items())),
        "drops": dict(sorted(drops.items())),
        "sources": {name: {"rows": rows[name], "kept": kept[name]} for name in sorted(rows)},
    }


def _values(column: pa.Array) -> dict[str, int]:
    return {entry["values"]: entry["counts"] for entry in column.value_counts().to_pylist()}


def write_part(path: str, rows: pa.Table) -> None:
    """Writes a Parquet file that is either whole or not there."""
    with whole_file(path) as file:
        pq.write_table(rows, file)
