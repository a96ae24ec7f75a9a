"""Tables of a dataset sorted by image on disk, for files of gigabytes that list their rows in any order.

DuckDB sorts: what does not fit in its memory goes to a temporary file. Sorted streams are then merged image by image.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from operator import itemgetter
from typing import Any

import duckdb
import pyarrow as pa

from mmgic.errors import InputError
from mmgic.files import filesystem_of
from mmgic.sources.reading.opening import BLOCK, is_plain, open_content, open_text

_MEMORY = "1GB"  # of DuckDB; beside it live only the rows of one batch and the images' own
_QUIET = "SET enable_progress_bar = false"  # of one connection
_FIRST = 20  # lines of a CSV file that tell its columns
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
        self._sources: dict[str, str] = {}  # what DuckDB reads -> the file that it stands for
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
        selects = [self._select(path, i, columns) for i, path in enumerate(paths)]
        cursor = self._database.cursor()
        yield from _groups(cursor, " UNION ALL ".join(selects))
        # DuckDB keeps them in tables of the connection that met them
        rejected = "SELECT file_path, line, min(error_message) FROM reject_errors JOIN reject_scans USING "
        found = cursor.sql(f"{rejected} (scan_id, file_id) GROUP BY ALL ORDER BY ALL").fetchall()
        self.bad_lines += [
            BadLine(self._sources[path], line, " ".join(problem.split("\n")[0].split()))
            for path, line, problem in found
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

    def _select(self, path: str, position: int, columns: Sequence[Column]) -> str:
        header = csv_header(path)
        key, *others = (_expression(path, header, column) for column in columns)
        names = ", ".join(f"{_column(i)}: 'VARCHAR'" for i in range(len(header)))
        again = " AND ".join(f"trim({_column(i)}) = {_text(name)}" for i, name in enumerate(header) if name) or "false"
        # to DuckDB these marks are a pattern, alone in brackets themselves
        file = re.sub(r"([*?[])", r"[\1]", self._plain(path))
        return (
            f"SELECT {', '.join([key, str(position), *others])} FROM read_csv({_text(file)}, "
            f"columns={{{names}}}, auto_detect=false, header=true, delim=',', quote='\"', escape='\"', "
            # files that were put together have their header again
            f"store_rejects=true, rejects_limit=0) WHERE ({again}) IS NOT TRUE"
        )

    def _plain(self, path: str) -> str:
        """The name of a local file of plain text with the content of the file at `path`."""
        filesystem, local = filesystem_of(path)
        plain = os.path.join(self._folder.name, f"{len(self._sources)}.csv")
        if "file" in filesystem.protocol and is_plain(path):
            os.symlink(local, plain)
        else:
            with open_content(path) as content, open(plain, "wb") as copy:
                shutil.copyfileobj(content, copy, BLOCK)
        self._sources[plain] = path
        return plain


def csv_header(path: str) -> list[str]:
    """The names of the columns that the lines of a CSV file have. Raises InputError if it cannot be read.

    A column that the header does not name is "". That is the first one, of row numbers, if the lines have a value more
    than the header, and the last one if that value is empty, for a comma at the lines' ends.
    """
    try:
        with open_text(path) as file:
            lines = csv.reader(file)
            header = [name.strip() for name in next(lines, [])]
            first = [line for line in islice(lines, _FIRST) if line] or [header]
    except csv.Error as error:
        raise InputError(f"cannot read {path} as CSV: {error}") from None
    shortest, longest = min(map(len, first)), max(map(len, first))
    if shortest > len(header):
        unnamed = [""] * (shortest - len(header))
        at_end = not any(value for line in first for value in line[len(header) : shortest])
        return [*header, *unnamed] if at_end else [*unnamed, *header]
    return header[:longest] if not any(header[longest:]) else header


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


def _expression(path: str, header: list[str], column: Column) -> str:
    """The value of `column` in a line of the file."""
    name = next((name for name in column.names if name in header), None)
    if name is None and column.default is None:
        found = ", ".join(" ".join(name.split()) for name in header if name)
        raise InputError(
            f"{path} has no column {' or '.join(column.names)} (its columns are {found[:300]}); give a file of the "
            "dataset's own form"
        )
    if name is not None and header.count(name) > 1:
        raise InputError(f"{path} has two columns {name}; remove one of them")
    text = f"trim({_column(header.index(name))})" if name is not None else _text(str(column.default))
    return f"TRY_CAST({text} AS DOUBLE)" if column.number else f"coalesce({text}, '')"


def _column(position: int) -> str:
    """What a column is called in a query, for a file's own names may be empty or come twice."""
    return f"c{position}"


def _table(columns: dict[str, pa.DataType], rows: list[tuple[Any, ...]]) -> pa.Table:
    values = zip(*rows, strict=True) if rows else ((),) * len(columns)
    arrays = [pa.array(list(column), kind) for column, kind in zip(values, columns.values(), strict=True)]
    return pa.table(arrays, names=list(columns))


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
