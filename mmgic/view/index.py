"""Searching and paging through one table: a DuckDB index of what is searched, and the rows themselves from Parquet."""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from mmgic.errors import InputError
from mmgic.files import filesystem_of
from mmgic.paths import absolute
from mmgic.stages import tables

_GROUPS = 32  # row groups that are kept in memory, of a few MB each
KEPT = "kept"  # how the reason of a kept row is called in a filter

# For each kind of column that a table may have, the SQL of the labels or texts in it
_LABELS = {
    "objects": "list_transform(objects, lambda o: o.label)",
    "attributes": "list_transform(attributes, lambda a: a.label)",
    "relationships": "list_transform(relationships, lambda r: r.label)",
}
_TEXTS = {
    **{name: name for name in ("image_id", "caption", "narrative", "text", "url", "detail")},
    **{name: name for name in ("caption_origin", "caption_coco", "caption_capsfusion")},
    "rounds": "array_to_string(list_transform(flatten(list_transform(rounds, "
    "lambda r: list_concat(r.instruction, r.response))), lambda p: p.text), ' ')",
}
_FORMS = {"template": "template", "task": "task"}


@dataclass(frozen=True)
class Filter:
    """Which rows of a table are shown; an empty value filters nothing."""

    source: str = ""
    form: str = ""  # template of a document, task of an instruction row
    reason: str = ""  # KEPT or one of mmgic.schema.REASONS
    label: str = ""  # of an object, attribute or relationship, whole, in any case
    text: str = ""  # somewhere in the id, captions, document or rounds, in any case


class TableIndex:
    """An index of one finished table. Building it reads the table once; pages then take milliseconds.

    Memory is what DuckDB needs for the searched texts, about the size of the captions or documents themselves.
    Raises InputError if `folder` holds no finished table.
    """

    def __init__(self, folder: str) -> None:
        if tables.read_manifest(folder) is None:
            raise InputError(f"{folder} holds no finished table; give a folder that has a {tables.MANIFEST}")
        self.filesystem, _ = filesystem_of(absolute(folder))
        self.schema = tables.open_table(folder).schema
        self.files: list[str] = sorted(tables.open_table(folder).files)
        self._database = duckdb.connect()
        self._lock = threading.Lock()  # a DuckDB connection serves one thread at a time
        self._group = functools.lru_cache(maxsize=_GROUPS)(self._read_group)
        self._build()

    def _build(self) -> None:
        columns = set(self.schema.names)
        labels = [sql for name, sql in _LABELS.items() if name in columns]
        texts = [sql for name, sql in _TEXTS.items() if name in columns]
        form = next((sql for name, sql in _FORMS.items() if name in columns), "''")
        listed = f"list_transform(flatten([{', '.join(labels)}]), lambda l: lower(l))" if labels else "[]::VARCHAR[]"
        self._database.execute(
            "CREATE TABLE rows (file INTEGER, part INTEGER, position INTEGER, row_id BIGINT, source VARCHAR, "
            "form VARCHAR, reason VARCHAR, labels VARCHAR[], text VARCHAR)"
        )
        for number, path in enumerate(self.files):
            with self.filesystem.open(path, "rb") as file:
                parquet = pq.ParquetFile(file)
                for group in range(parquet.num_row_groups):
                    rows = parquet.read_row_group(group, columns=_searched(columns))
                    position = pa.array(range(rows.num_rows), pa.int32())
                    self._database.register("part", rows.append_column("position", position))
                    self._database.execute(
                        f"INSERT INTO rows SELECT {number}, {group}, position, row_id, source, {form}, "
                        f"CASE WHEN keep THEN '{KEPT}' ELSE reason END, {listed}, "
                        f"lower(concat_ws(' ', {', '.join(texts)})) FROM part"
                    )

    def options(self, column: str) -> dict[str, int]:
        """value -> number of rows, of `source`, `form` or `reason`, the most frequent first."""
        query = f"SELECT {column}, COUNT(*) FROM rows WHERE {column} <> '' GROUP BY 1 ORDER BY 2 DESC, 1"
        return dict(self._fetch(query, []))

    def count(self, chosen: Filter) -> int:
        where, values = _where(chosen)
        return int(self._fetch(f"SELECT COUNT(*) FROM rows {where}", values)[0][0])

    def page(self, chosen: Filter, number: int, size: int) -> list[dict[str, Any]]:
        """The rows of page `number` (from 0), `size` rows each, in the order of the files."""
        where, values = _where(chosen)
        query = f"SELECT file, part, position FROM rows {where} ORDER BY file, part, position LIMIT ? OFFSET ?"
        places = self._fetch(query, [*values, size, number * size])
        return [self._row(file, group, position) for file, group, position in places]

    def place(self, chosen: Filter, row_id: int) -> int | None:
        """How many of the filtered rows come before the first row of this id; None if it is not among them."""
        where, values = _where(chosen)
        ordered = f"SELECT row_id, ROW_NUMBER() OVER (ORDER BY file, part, position) - 1 AS place FROM rows {where}"
        found = self._fetch(f"SELECT MIN(place) FROM ({ordered}) WHERE row_id = ?", [*values, row_id])
        return None if found[0][0] is None else int(found[0][0])

    def find(self, row_ids: Sequence[int], columns: tuple[str, ...] | None = None) -> dict[int, dict[str, Any]]:
        """The rows of these ids, as far as they are there, by id; `columns` alone if some are named."""
        query = "SELECT row_id, file, part, position FROM rows WHERE list_contains(?, row_id)"
        places = self._fetch(query, [list(row_ids)])
        return {row_id: self._row(file, group, position, columns) for row_id, file, group, position in places}

    def _fetch(self, query: str, values: list[Any]) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._database.execute(query, values).fetchall()

    def _row(self, file: int, group: int, position: int, columns: tuple[str, ...] | None = None) -> dict[str, Any]:
        row: dict[str, Any] = self._group(file, group, columns).slice(position, 1).to_pylist()[0]
        return row

    def _read_group(self, file: int, group: int, columns: tuple[str, ...] | None) -> pa.Table:
        """A row group, the smallest part of a Parquet file that is read alone; the rows of a page share few of them."""
        try:
            with self.filesystem.open(self.files[file], "rb") as opened:
                return pq.ParquetFile(opened).read_row_group(group, columns=list(columns) if columns else None)
        except (OSError, pa.ArrowException):
            raise InputError(f"{self.files[file]} has changed since it was indexed; start `mmgic view` again") from None


def _searched(columns: set[str]) -> list[str]:
    wanted = ("row_id", "source", "keep", "reason", *_LABELS, *_TEXTS, *_FORMS)
    return [name for name in dict.fromkeys(wanted) if name in columns]


def _where(chosen: Filter) -> tuple[str, list[Any]]:
    tests = {
        "source = ?": chosen.source,
        "form = ?": chosen.form,
        "reason = ?": chosen.reason,
        "list_contains(labels, ?)": chosen.label.strip().lower(),
        "contains(text, ?)": chosen.text.strip().lower(),
    }
    used = {test: value for test, value in tests.items() if value}
    return ("WHERE " + " AND ".join(used) if used else "", list(used.values()))
