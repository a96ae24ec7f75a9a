"""Annotation files as streams of numbered records: JSON arrays and lines, and Parquet."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from mmgic.errors import InputError
from mmgic.files import open_file
from mmgic.settings import SourceSettings
from mmgic.sources.reading.files import PACKED, annotation_paths
from mmgic.sources.reading.json_files import json_array
from mmgic.sources.reading.opening import known_kind

Record = TypeVar("Record")

_ROWS = 5000  # of a Parquet file that are read at once


def source_records(
    source: SourceSettings, read: Callable[[str], Iterator[tuple[int, Record]]]
) -> Iterator[tuple[str, Record]]:
    """(where it stands, record) of all records of a source's annotation files, such as ("cc12m.tsv#7", ...).

    `read` yields the numbered records of one file. Raises InputError like `annotation_paths`, and if a file holds no
    record.
    """
    for path in annotation_paths(source):
        file, number = posixpath.basename(path).removesuffix(PACKED), 0
        for number, record in read(path):
            yield f"{file}#{number}", record
        if not number:
            raise InputError(
                f"{path} holds no records of the format '{source.format}'; download it again, or set 'annotations' of "
                f"source '{source.name}' to other files"
            )


def table_records(
    path: str, columns: Mapping[str, Sequence[str]], optional: Sequence[str] = (), rows: int = _ROWS
) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number from 1, record) of JSON (*.json*; a list, or a record a line) or of a Parquet file (any other).

    `columns` names each column of the result by the names that it may have in the file. Raises InputError like
    `parquet_records`; what a JSON record does not hold is None.
    """
    if ".json" not in posixpath.basename(path):
        yield from enumerate(parquet_records(path, columns, optional, rows), start=1)
        return
    for number, record in json_array(path):
        fields = record if isinstance(record, dict) else {}
        given = {name: value for name, value in fields.items() if value is not None}
        yield (
            number,
            {column: next((given[name] for name in names if name in given), None) for column, names in columns.items()},
        )


def parquet_records(
    path: str, columns: Mapping[str, Sequence[str]], optional: Sequence[str] = (), rows: int = _ROWS
) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file, in memory of `rows` of them.

    `columns` names each column of the result by the names that it may have in the file, whatever their case. Raises
    InputError if a column that is not `optional` is missing, or if the file cannot be read.
    """
    with _of_parquet(path), open_file(path) as file, pq.ParquetFile(file) as parquet:
        found = {name.lower(): name for name in reversed(parquet.schema_arrow.names)}
        chosen = {
            column: next((found[name.lower()] for name in names if name.lower() in found), None)
            for column, names in columns.items()
        }
        missing = [columns[column][0] for column in columns if chosen[column] is None and column not in optional]
        if missing:
            raise InputError(
                f"{path} has no column '{missing[0]}' (it has {', '.join(parquet.schema_arrow.names)}); check the "
                "source's 'format' and 'annotations'"
            )
        read = {column: name for column, name in chosen.items() if name is not None}
        for batch in parquet.iter_batches(rows, columns=list(dict.fromkeys(read.values()))):
            for record in batch.to_pylist():
                yield {column: _text_of(record[name]) for column, name in read.items()}


def parquet_columns(path: str) -> dict[str, pa.DataType]:
    """The columns of a Parquet file. Raises InputError if it cannot be read."""
    with _of_parquet(path), open_file(path) as file, pq.ParquetFile(file) as parquet:
        return {field.name: field.type for field in parquet.schema_arrow}


@contextmanager
def _of_parquet(path: str) -> Iterator[None]:
    """Turns what is wrong with a Parquet file into an InputError."""
    try:
        yield
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:  # Arrow's are of many kinds
        if kind := known_kind(path):
            raise InputError(f"{path} is {kind}") from None
        problem = str(error).strip().splitlines()[0]
        raise InputError(f"{path} is damaged or not a Parquet file ({problem}); download it again") from None


def _text_of(value: Any) -> Any:
    """Text that a tool stored as bytes as text, and any other value, such as the bytes of an image, as it is."""
    try:
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError:
        return value
