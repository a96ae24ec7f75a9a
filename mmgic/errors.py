"""Errors whose message is meant for the user: one sentence that says what is wrong and what to do.

`explained` is the one rule that makes such a sentence of what the system, a database or a library raised.
"""

from __future__ import annotations

import errno
import os
import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Libraries that write files in C++ or Rust hand on the words alone
_FULL_WORDS = re.compile(
    r"no space left|disk is full|disk quota exceeded|file too large|os error 28|PytorchStreamWriter failed writing",
    re.I,
)
_TEMPORARY = os.environ.get("TMPDIR") or "/tmp"
_MAKE_ROOM = "no room is left on the disk; make some or choose a folder on a larger one, and run the same command again"


class UserError(ValueError):
    """What a user can put right; the message is their sentence."""


class InputError(UserError):
    """Something the user gave (a file, a folder, a checkpoint) cannot be used."""


def explained(error: BaseException, path: str = "") -> str:
    """The sentence that tells a user of `error`, or of what it came from; "" for a fault of ours.

    `path` is what the work was about, for an error that does not say.
    What a worker process raised arrives from Ray inside of others, as their `cause`.
    """
    seen: set[int] = set()
    pending: BaseException | None = error
    while pending is not None and id(pending) not in seen:
        seen.add(id(pending))
        inner = getattr(pending, "cause", None)
        # Ray's wrappers are also of the class that they wrap, but their text is a stack trace
        if not isinstance(inner, BaseException) and (sentence := _sentence(pending, path)):
            return sentence
        pending = inner if isinstance(inner, BaseException) else pending.__cause__
    return ""


@contextmanager
def about(path: str | os.PathLike[str]) -> Iterator[None]:
    """Notes in whatever is raised which file or folder it is about, for `explained`."""
    try:
        yield
    except Exception as error:
        error.add_note(os.fspath(path))
        raise


def _sentence(error: BaseException, about: str) -> str:
    if isinstance(error, UserError):
        return str(error)
    words = " ".join(str(error).split())
    if isinstance(error, sqlite3.Error):
        place = _place(error) or f"{os.environ.get('SQLITE_TMPDIR') or _TEMPORARY}: "
        return f"{place}SQLite says: {words}; make room there, or set TMPDIR to another folder"
    if (duckdb := sys.modules.get("duckdb")) and isinstance(error, duckdb.Error):
        said = words.partition(" * ")[0]  # hints about its own settings follow
        place = _place(error) or f"{_TEMPORARY}: "
        return f"{place}DuckDB says: {said}; make room or memory for it, or set TMPDIR to another folder"
    if (isinstance(error, OSError) and error.errno in _FULL) or _FULL_WORDS.search(words):
        return f"{_place(error, about)}{_MAKE_ROOM}"
    if isinstance(error, OSError) and error.strerror is not None:
        said = " ".join(error.strerror.split())
        return f"{_place(error, about)}{said}; give a path that can be read or written"
    if isinstance(error, MemoryError):
        return f"{_place(error, about)}not enough memory; close other programs, or lower cluster.data_workers"
    return ""


def _place(error: BaseException, about: str = "") -> str:
    notes = getattr(error, "__notes__", [])
    path = getattr(error, "filename", None) or (notes[0] if notes else about)
    return f"{os.fsdecode(path)}: " if isinstance(path, (str, bytes)) and path else ""
