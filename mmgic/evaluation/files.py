"""Reading the JSON files of benchmarks and predictions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mmgic.errors import InputError


def read_json(path: str | Path) -> Any:
    """The JSON value in the file `path`. Raises InputError if the file is missing or is not JSON."""
    text = _read_text(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path} is not complete JSON (line {error.lineno}: {error.msg}); write or download it again"
        ) from None


def read_records(path: str | Path) -> list[dict[str, Any]]:
    """The objects of a JSON array or of a file of JSON lines, whichever `path` holds.

    Raises InputError if the file is missing, holds something else, or breaks off.
    """
    text = _read_text(path)
    if text.lstrip().startswith("["):
        records: list[dict[str, Any]] = read_json(path)
    else:
        records = []
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                try:
                    records.append(json.loads(line))
                except json.JSONDecodeError as error:
                    raise InputError(f"line {number} of {path} is not JSON ({error.msg}); one object a line") from None
    if not records:
        raise InputError(f"{path} holds no records")
    for number, record in enumerate(records, start=1):
        if not isinstance(record, dict):
            raise InputError(f"record {number} of {path} is no JSON object")
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
    first = ", ".join(str(value) for value in listed[:3])
    return f"{len(listed)} ({first}{', …' if len(listed) > 3 else ''})"


def _read_text(path: str | Path) -> str:
    try:
        # a byte order mark is what some Windows tools put first
        return Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text; save it as UTF-8 JSON") from None
