"""Annotation files as streams of numbered records: JSON arrays, Parquet, and lines, also in .gz and .zip archives."""

from __future__ import annotations

import gzip
import posixpath
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any, TypeVar, cast

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from mmgic.errors import InputError
from mmgic.settings import SourceSettings
from mmgic.sources.reading.files import annotation_paths, stream_json
from mmgic.sources.reading.json_text import load_json

Record = TypeVar("Record")

MAX_LINE = 64 << 20  # bytes; what is longer is no record
_ROWS = 5000  # of a Parquet file that are read at once


def source_records(
    source: SourceSettings, read: Callable[[str], Iterator[tuple[int, Record]]]
) -> Iterator[tuple[str, Record]]:
    """(where it stands, record) of all records of a source's annotation files, such as ("cc12m.tsv#7", ...).

    `read` yields the numbered records of one file. Raises InputError like `annotation_paths`, and if a file holds no
    record.
    """
    for path in annotation_paths(source):
        file, number = posixpath.basename(path), 0
        for number, record in read(path):
            yield f"{file}#{number}", record
        if not number:
            raise InputError(
                f"{path} holds no records of the format '{source.format}'; download it again, or set 'annotations' of "
                f"source '{source.name}' to other files"
            )


def text_lines(path: str) -> Iterator[tuple[int, str | None]]:
    """(number from 1, text) of the lines that are not empty; None for the text of a line that is not UTF-8.

    Raises InputError if the file is missing, a damaged archive, or holds no lines of a sensible length.
    """
    number = 0
    try:
        for file in _texts(path):
            while line := file.readline(MAX_LINE):
                if len(line) == MAX_LINE:
                    raise InputError(f"{path} holds a line of {MAX_LINE >> 20} MiB; it should have a record a line")
                number += 1
                if line.strip():
                    yield number, _decoded(line)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except (EOFError, zlib.error, zipfile.BadZipFile, RuntimeError) as error:
        raise InputError(f"{path} is a damaged or locked archive ({error}); download it again") from None


def json_lines(path: str) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """(number from 1, record) of the lines that are not empty; None for a line that is no JSON object.

    Raises InputError like `text_lines`.
    """
    for number, line in text_lines(path):
        try:
            record = load_json(line or "")
        except (ValueError, RecursionError):
            record = None
        yield number, record if isinstance(record, dict) else None


def json_array(path: str) -> Iterator[tuple[int, Any]]:
    """(number from 1, value) of the members of a JSON array, like `stream_json`."""
    return enumerate(stream_json(path, "item"), start=1)


def table_records(
    path: str, columns: Mapping[str, Sequence[str]], optional: Sequence[str] = (), rows: int = _ROWS
) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number from 1, record) of a JSON array (*.json), of JSON lines (*.jsonl*) or of a Parquet file (any other).

    `columns` names each column of the result by the names that it may have in the file. Raises InputError like
    `parquet_records`; what a JSON record does not hold is None.
    """
    name = posixpath.basename(path)
    if not name.endswith(".json") and ".jsonl" not in name:
        yield from enumerate(parquet_records(path, columns, optional, rows), start=1)
        return
    for number, record in json_array(path) if name.endswith(".json") else json_lines(path):
        fields = record if isinstance(record, dict) else {}
        given = {name: value for name, value in fields.items() if value is not None}
        yield (
            number,
            {column: next((given[name] for name in names if name in given), None) for column, names in columns.items()},
        )


def _texts(path: str) -> Iterator[IO[bytes]]:
    with fsspec.open(path, "rb") as file:
        if path.endswith(".zip"):
            with zipfile.ZipFile(file) as archive:
                for name in sorted(archive.namelist()):
                    if not name.endswith("/"):
                        with archive.open(name) as member:
                            yield member
        elif path.endswith(".gz"):
            with gzip.open(file) as content:
                yield cast(IO[bytes], content)
        else:
            yield file


def _decoded(line: bytes) -> str | None:
    try:
        return line.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        return None


def parquet_records(
    path: str, columns: Mapping[str, Sequence[str]], optional: Sequence[str] = (), rows: int = _ROWS
) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file, in memory of `rows` of them.

    `columns` names each column of the result by the names that it may have in the file, whatever their case. Raises
    InputError if a column that is not `optional` is missing, or if the file cannot be read.
    """
    try:
        with fsspec.open(path, "rb") as file, pq.ParquetFile(file) as parquet:
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
                    yield {column: record[name] for column, name in read.items()}
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except (pa.ArrowException, UnicodeDecodeError) as error:
        problem = str(error).strip().splitlines()[0]
        raise InputError(f"{path} is damaged or not a Parquet file ({problem}); download it again") from None
