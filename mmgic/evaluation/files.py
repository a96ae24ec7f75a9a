"""The records of benchmarks' and predictions' files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mmgic.errors import InputError
from mmgic.sources.reading.json_files import json_lines


def read_records(path: str | Path) -> list[dict[str, Any]]:
    """The objects of a JSON array or of a file of JSON lines, whichever `path` holds.

    Raises InputError if the file is missing, holds something else, or breaks off.
    """
    records = []
    for number, record in json_lines(str(path)):
        if record is None:
            raise InputError(f"record {number} of {path} is no JSON object; write an array of objects, or one a line")
        records.append(record)
    if not records:
        raise InputError(f"{path} holds no records")
    return records


def require(record: dict[str, Any], key: str, kinds: type | tuple[type, ...], path: str | Path, number: int) -> Any:
    """`record[key]`, or InputError naming the record if it is missing or of another type."""
    value = record.get(key)
    if not isinstance(value, kinds) or isinstance(value, bool):
        problem = f"has the wrong type ({value!r})" if key in record else "is missing"
        raise InputError(f"'{key}' {problem} in record {number} of {path}")
    return value


def some(values: Iterable[Any]) -> str:
    """How many `values` there are and which come first, for an error message."""
    listed: Sequence[Any] = list(values)
    first = ", ".join(" ".join(str(value).split())[:100] for value in listed[:3])
    return f"{len(listed)} ({first}{', …' if len(listed) > 3 else ''})"
