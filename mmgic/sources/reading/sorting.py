"""Tables of a dataset sorted by image on disk, for files of gigabytes that list their rows in any order.

DuckDB sorts: what does not fit in its memory goes to a temporary file. Sorted streams are then merged image by image.
"""

from __future__ import annotations

import csv
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from operator import itemgetter
from typing import Any

import duckdb
import fsspec
import pyarrow as pa

from mmgic.errors import InputError
from mmgic.files import filesystem_of

_MEMORY = "1GB"  # of DuckDB; beside it live only the rows of one batch and the images' own
_QUIET = "SET enable_progress_bar = false"  # of one connection
_BATCH = 20_000  # rows that are Python objects at once

Group = tuple[str, list[tuple[Any, ...]]]


@dataclass(frozen=True)
class Column:
    """A column of a CSV file under any of its `names`. A file without it gets `default`; None: it must have it."""

    names: tuple[str, ...]
    number: bool = False  # None in a row that has no number there
    default: str | None = None


@dataclass(frozen=True)
class BadLine:
    """A line of a text file that could not be read."""

    path: str
    line: int
    problem: str


class Sorter:
    """Sorts rows by their first column, then by all others, in bounded memory. Use it as a context manager.

    The order is that of the text's code points, which is Python's own.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="mmgic-sort-")
        # the order of a sorted result is kept only with preserve_insertion_order
        self._database = duckdb.connect(
            os.path.join(self._folder.name, "rows.duckdb"),
            config={
                "memory_limit": _MEMORY,
                "threads": min(4, os.cpu_count() or 1),
                "temp_directory": os.path.join(self._folder.name, "spill"),
                "preserve_insertion_order": True,
                "autoinstall_known_extensions": False,
            },
        )
        self._database.execute(_QUIET)
        self._tables = 0
        self._remote: set[type] = set()
        self.bad_lines: list[BadLine] = []

    def __enter__(self) -> Sorter:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()
        self._folder.cleanup()

    def csv_groups(self, paths: Sequence[str], columns: Sequence[Column]) -> Iterator[Group]:
        """Groups the lines of CSV files by the first of `columns`, "" if it is empty.

        A row is (key, position of its file in `paths`, the other columns). Lines that are no rows are in `bad_lines`
        once the last group has been taken. Raises InputError if a file lacks a column.
        """
        if not paths:
            return
        selects = [f"SELECT {_columns(path, i, columns)} FROM {self._reader(path)}" for i, path in enumerate(paths)]
        cursor = self._database.cursor()
        yield from _groups(cursor, " UNION ALL ".join(selects))
        # DuckDB keeps them in tables of the connection that met them
        rejected = "SELECT file_path, line, min(error_message) FROM reject_errors JOIN reject_scans USING "
        found = cursor.sql(f"{rejected} (scan_id, file_id) GROUP BY ALL ORDER BY ALL").fetchall()
        self.bad_lines += [
            BadLine(path, line, " ".join(problem.split("\n")[0].split())) for path, line, problem in found
        ]

    def store(self, columns: dict[str, pa.DataType], rows: Iterable[tuple[Any, ...]]) -> str:
        """Stores `rows` in a table and returns its name, for `groups`."""
        self._tables += 1
        name, rows = f"stored_{self._tables}", iter(rows)
        self._database.register("batch", _table(columns, []))
        self._database.execute(f"CREATE TABLE {name} AS FROM batch")
        while block := list(islice(rows, _BATCH)):
            self._database.register("batch", _table(columns, block))
            self._database.execute(f"INSERT INTO {name} FROM batch")
        return name

    def is_empty(self, table: str) -> bool:
        return not self._database.sql(f"FROM {table} LIMIT 1").fetchall()

    def groups(self, query: str) -> Iterator[Group]:
        """(first column, its rows) of a query over stored tables, sorted."""
        return _groups(self._database.cursor(), query)

    def _reader(self, path: str) -> str:
        filesystem, local = filesystem_of(path)
        if "file" in filesystem.protocol:
            path = local
        elif type(filesystem) not in self._remote:
            self._database.register_filesystem(filesystem)
            self._remote.add(type(filesystem))
        columns = ", ".join(f"{_text(name)}: 'VARCHAR'" for name in csv_header(path))
        name = re.sub(r"([*?[])", r"[\1]", path)  # to DuckDB these marks are a pattern, alone in brackets themselves
        return (
            f"read_csv({_text(name)}, columns={{{columns}}}, auto_detect=false, header=true, delim=',', quote='\"', "
            "escape='\"', store_rejects=true, rejects_limit=0)"
        )


def csv_header(path: str) -> list[str]:
    """The column names of a CSV file. Raises InputError if it cannot be read."""
    try:
        with fsspec.open(path, "rt", encoding="utf-8-sig", newline="") as file:
            return [name.strip() for name in next(csv.reader(islice(file, 1)), [])]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read {path} as CSV: {error}") from None


def merge_groups(*streams: Iterator[Group]) -> Iterator[tuple[str, list[list[tuple[Any, ...]]]]]:
    """(key, its rows in each of the sorted streams), sorted; [] for a stream that does not have the key."""
    heads = [next(stream, None) for stream in streams]
    while any(head is not None for head in heads):
        key = min(head[0] for head in heads if head is not None)
        found: list[list[tuple[Any, ...]]] = []
        for i, (head, stream) in enumerate(zip(heads, streams, strict=True)):
            if head is not None and head[0] == key:
                found.append(head[1])
                heads[i] = next(stream, None)
            else:
                found.append([])
        yield key, found


def _groups(cursor: duckdb.DuckDBPyConnection, query: str) -> Iterator[Group]:
    for key, rows in groupby(_sorted_rows(cursor, query), itemgetter(0)):
        yield str(key), list(rows)


def _sorted_rows(cursor: duckdb.DuckDBPyConnection, query: str) -> Iterator[tuple[Any, ...]]:
    try:
        cursor.execute(_QUIET)
        for batch in cursor.sql(f"FROM ({query}) ORDER BY ALL").to_arrow_reader(_BATCH):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
    except duckdb.Error as error:
        raise InputError(f"DuckDB cannot sort the annotation files: {str(error).splitlines()[0]}") from None


def _columns(path: str, position: int, columns: Sequence[Column]) -> str:
    header = csv_header(path)
    expressions = []
    for column in columns:
        name = next((name for name in column.names if name in header), None)
        if name is None and column.default is None:
            raise InputError(
                f"{path} has no column {' or '.join(column.names)} (its columns are {', '.join(header)}); "
                "give a file of the dataset's own form"
            )
        text = f"trim({_name(name)})" if name is not None else _text(str(column.default))
        expressions.append(f"TRY_CAST({text} AS DOUBLE)" if column.number else f"coalesce({text}, '')")
    return ", ".join([expressions[0], str(position), *expressions[1:]])


def _table(columns: dict[str, pa.DataType], rows: list[tuple[Any, ...]]) -> pa.Table:
    values = zip(*rows, strict=True) if rows else ((),) * len(columns)
    arrays = [pa.array(list(column), kind) for column, kind in zip(values, columns.values(), strict=True)]
    return pa.table(arrays, names=list(columns))


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _name(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'
