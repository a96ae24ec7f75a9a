"""JSON files as streams: the members of a list or of an object, and records a line."""

from __future__ import annotations

import json
import os
import posixpath
import re
from collections.abc import Callable, Iterator
from typing import Any

import ijson

from mmgic.errors import InputError
from mmgic.sources.reading.json_text import load_json, mended_blocks
from mmgic.sources.reading.opening import (
    MAX_LINE,
    known_kind,
    not_utf8,
    open_content,
    open_contents,
    read_whole,
    text_lines,
)

_LINES = re.compile(r"\.(jsonl|ndjson|jsonlines)\b", re.IGNORECASE)  # in the name of a file with a record a line


def read_json(path: str | os.PathLike[str]) -> Any:
    """The value of a JSON file that fits in memory. Raises InputError if the file is missing or is not JSON."""
    try:
        return load_json(read_whole(path))
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is not JSON (line {error.lineno}: {error.msg}); write or download it again") from None
    except RecursionError:
        raise InputError(f"{path} is JSON that is nested too deep") from None


def stream_json(path: str, prefix: str) -> Iterator[Any]:
    """Yields the values under ijson's `prefix` ("images.item", "item") in file order, in memory of one value.

    A file of JSON lines counts as the list of its records ("item"); a line that is no JSON is None. Otherwise the whole
    file is parsed, also after the last value. Raises InputError if it is not complete JSON.
    """
    if prefix == "item" and _holds_lines(path):
        yield from (record for _, record in _line_values(path))
    else:
        yield from _streamed(path, prefix, ijson.items)


def stream_json_members(path: str, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the (name, value) members of the JSON object under ijson's `prefix`, like `stream_json`."""
    yield from _streamed(path, prefix, ijson.kvitems)


def has_list(path: str, name: str) -> bool:
    """If the JSON object of the file has a list called `name`, empty or not. Raises InputError like `stream_json`."""
    return (name, "start_array") in ((found, event) for found, event, _ in _streamed(path, None, ijson.parse))


def json_array(path: str) -> Iterator[tuple[int, Any]]:
    """(number from 1, value) of the members of a JSON array, like `stream_json`."""
    return enumerate(stream_json(path, "item"), start=1)


def json_lines(path: str) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """(number from 1, record) of the lines that are not empty, or of the members if the file is a JSON array.

    None for what is no JSON object. Raises InputError like `text_lines` and `stream_json`.
    """
    for number, record in json_array(path) if _is_array(path) else _line_values(path):
        yield number, record if isinstance(record, dict) else None


def _line_values(path: str) -> Iterator[tuple[int, Any]]:
    for number, line in text_lines(path):
        try:
            record = load_json(line or "")
        except (ValueError, RecursionError):
            record = None
        yield number, record


def _holds_lines(path: str) -> bool:
    """If a file has a JSON object a line, and is not one that is an object itself."""
    if _is_array(path):
        return False
    if _LINES.search(posixpath.basename(path)):
        return True
    first, more = _beginning(path)
    try:
        return more and isinstance(load_json(first.decode()), dict)
    except (ValueError, RecursionError):
        return False


def _is_array(path: str) -> bool:
    return _beginning(path, 1)[0] == b"["


def _beginning(path: str, size: int = MAX_LINE) -> tuple[bytes, bool]:
    """The first line that is not empty, at most `size` bytes of it, and if more than blanks follow."""
    with open_contents(path) as contents:
        content = next(contents)
        lines = (line for line in iter(lambda: content.readline(size), b"") if line.strip())
        return next(lines, b"").lstrip(), next(lines, b"") != b""


def _streamed(path: str, prefix: str | None, parse: Callable[..., Iterator[Any]]) -> Iterator[Any]:
    try:
        with open_content(path) as file:
            content = ijson.from_iter(mended_blocks(file))
            yield from parse(content, *([] if prefix is None else [prefix]), use_float=True)
    except ijson.JSONError as error:
        raise _not_json(path, str(error)) from None
    except UnicodeDecodeError:
        raise not_utf8(path) from None


def _not_json(path: str, problem: str) -> InputError:
    problem = problem.strip().splitlines()[0]
    if "UTF8" in problem:
        return not_utf8(path)
    if "premature EOF" in problem or "Incomplete" in problem:
        return InputError(f"{path} is {known_kind(path) or 'JSON that is cut short; download or export it again'}")
    if "trailing garbage" in problem:
        return InputError(f"{path} holds more than one JSON value; it should be a single one")
    return InputError(f"{path} is not JSON ({problem}); export it as JSON, or name another file")
