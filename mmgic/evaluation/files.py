"""The records of benchmarks' and predictions' files, whatever tool wrote them."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmgic.errors import InputError
from mmgic.files import open_file
from mmgic.images import MAX_SLICE_BYTES
from mmgic.sources.reading.json_text import load_json
from mmgic.sources.reading.opening import MAX_LINE, read_whole

Record = dict[str, Any]

_LISTS = ("results", "predictions", "logs", "data", "questions")  # what tools call their list of records
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]")


def read_records(path: str | Path) -> list[Record]:
    """The records of a file: JSON array or lines, an object with a list of records, CSV or TSV with a header, or .xlsx.

    What the file is is seen in its content. Raises InputError if it is missing, holds something else, or breaks off.
    """
    records = _xlsx(path) if str(path).lower().endswith(".xlsx") else _parsed(read_whole(path), path)
    if not records:
        raise InputError(f"{path} holds no records")
    return records


def read_rows(path: str | Path, delimiter: str, quoted: bool = True) -> list[list[str]]:
    """The rows of a CSV or TSV file as texts, "NA" and "None" among them. Raises InputError like `read_records`."""
    text = read_whole(path)
    return (
        _cells(text, delimiter, path) if quoted else [row.split(delimiter) for row in text.split("\n") if row.strip()]
    )


def read_parquet(path: str) -> list[Record]:
    """The rows of a Parquet file. Raises InputError if it is none, or holds a picture larger than an image may be."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open_file(path) as file:
            rows: list[Record] = pq.read_table(file).to_pylist()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except pa.ArrowException as error:
        raise InputError(f"{path} is no Parquet file that can be read ({error}); download it again") from None
    pictures = (cell["bytes"] for row in rows for cell in row.values() if isinstance(cell, dict) and "bytes" in cell)
    if any(len(picture) > MAX_SLICE_BYTES for picture in pictures if isinstance(picture, bytes)):
        raise InputError(f"{path} holds a picture of more than {MAX_SLICE_BYTES:,} bytes")
    return rows


def encoded_image(text: str) -> bytes:
    """The image file that base64 holds. What is no base64 is given back as it is, which no decoder takes for an image.

    Raises InputError if it is larger than an image may be.
    """
    if len(text) > MAX_SLICE_BYTES:
        raise InputError(f"a picture of {len(text):,} characters is too large; images have at most {MAX_SLICE_BYTES:,}")
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return text.encode(errors="replace")


@contextmanager
def kept_files(paths: Sequence[str]) -> Iterator[list[str]]:
    """`paths`, with a copy for each that can be read only once, such as a pipe: readers look at files more than once.

    Raises InputError if one cannot be copied.
    """
    with tempfile.TemporaryDirectory(prefix="mmgic-pipe-") as folder:
        yield [_kept(path, Path(folder) / str(number)) for number, path in enumerate(paths)]


def _kept(path: str, folder: Path) -> str:
    try:
        mode = Path(path).stat().st_mode
        if not (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISSOCK(mode)):
            return path
        folder.mkdir()
        with open(path, "rb") as pipe, (folder / Path(path).name).open("wb") as file:
            shutil.copyfileobj(pipe, file)
    except FileNotFoundError:
        return path  # its reader says so
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    return str(folder / Path(path).name)


def require(record: Mapping[str, Any], key: str, kinds: type | tuple[type, ...], path: str | Path, number: int) -> Any:
    """`record[key]`, or InputError naming the record if it is missing or of another type."""
    value = record.get(key)
    if not isinstance(value, kinds) or isinstance(value, bool):
        problem = f"has the wrong type ({value!r})" if key in record else "is missing"
        raise InputError(f"'{key}' {problem} in record {number} of {path}")
    return value


def listed(records: Any, path: str | Path) -> list[tuple[int, Record]]:
    """(number from 1, record) of a list of objects inside of a file. Raises InputError if it is something else."""
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise InputError(f"{path} holds something else than lists of objects; take the authors' file")
    return list(enumerate(records, start=1))


def some(values: Iterable[Any]) -> str:
    """How many `values` there are and which come first, for an error message."""
    listed: Sequence[Any] = list(values)
    first = ", ".join(" ".join(str(value).split())[:100] for value in listed[:3])
    return f"{len(listed)} ({first}{', …' if len(listed) > 3 else ''})"


def _parsed(text: str, path: str | Path) -> list[Record]:
    start = text.lstrip()[:1]
    if start == "[":
        return _objects(_loaded(text, path), path)
    if start == "{":
        return _of_object(text, path)
    header = text.lstrip().partition("\n")[0]
    delimiter = next((sign for sign in "\t,;" if sign in header), "")
    if start and (not delimiter or _CONTROL.search(header)):
        raise InputError(f"{path} is no JSON, CSV or TSV; write an array of objects, or one a line")
    return _table(_cells(text, delimiter, path), path) if start else []


def _of_object(text: str, path: str | Path) -> list[Record]:
    """The records of JSON lines, or of the list that an object holds."""
    lines = text.split("\n")
    try:
        whole = load_json(text)
    except (ValueError, RecursionError):
        numbered = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
        if len(numbered) == 1:
            _loaded(text, path)
        return [_line(line, number, path) for number, line in numbered]
    held = [whole[name] for name in _LISTS if isinstance(whole.get(name), list)]
    return _objects(held[0], path) if len(held) == 1 else [whole]


def _line(line: str, number: int, path: str | Path) -> Record:
    try:
        record = load_json(line)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        raise InputError(f"record {number} of {path} is no JSON object; write an array of objects, or one a line")
    return record


def _loaded(text: str, path: str | Path) -> Any:
    try:
        return load_json(text)
    except RecursionError:
        raise InputError(f"{path} is JSON that is nested too deep") from None
    except json.JSONDecodeError as error:
        cut = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string")
        problem = "JSON that is cut short" if cut else f"not JSON (line {error.lineno}: {error.msg})"
        raise InputError(f"{path} is {problem}; write or download it again") from None
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}); write or download it again") from None


def _objects(values: Sequence[Any], path: str | Path) -> list[Record]:
    for number, record in enumerate(values, start=1):
        if not isinstance(record, dict):
            raise InputError(f"record {number} of {path} is no JSON object; write an array of objects, or one a line")
    return list(values)


def _cells(text: str, delimiter: str, path: str | Path) -> list[list[str]]:
    csv.field_size_limit(MAX_LINE)  # benchmarks keep pictures in their cells
    try:
        return [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True) if row]
    except csv.Error as error:
        raise InputError(f"{path} is no table that can be read ({error}); export it again") from None


def _table(rows: Sequence[Sequence[str]], path: str | Path) -> list[Record]:
    header, *body = rows
    if twice := [name for name in header if header.count(name) > 1]:
        raise InputError(f"{path} has two columns called {twice[0]!r}; rename one")
    for number, row in enumerate(body, start=1):
        if len(row) != len(header):
            raise InputError(f"record {number} of {path} has {len(row)} cells, not {len(header)}; quote its text")
    return [dict(zip(header, row, strict=True)) for row in body]


def _xlsx(path: str | Path) -> list[Record]:
    try:
        import openpyxl
    except ImportError:
        raise InputError(f"{path} is an Excel file; save it as CSV, or install openpyxl") from None
    try:
        sheet = openpyxl.load_workbook(path, read_only=True, data_only=True).worksheets[0]
        rows = [["" if cell is None else _cell(cell) for cell in row] for row in sheet.iter_rows(values_only=True)]
    except Exception as error:  # zip, XML and its own errors of many kinds
        raise InputError(f"{path} is no Excel file that can be read ({error}); save it as CSV") from None
    return _table(rows, path) if rows else []


def _cell(value: Any) -> str:
    """Excel keeps whole numbers as floats."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
