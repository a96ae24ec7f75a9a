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
_MEMORY_WORDS = re.compile(r"out of memory|(can't|cannot|failed to) allocate memory|DefaultCPUAllocator", re.I)
_OPEN_FILES = (errno.EMFILE, errno.ENFILE)
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


def of_the_machine(error: BaseException) -> bool:
    """If the machine is at fault and not the record at work: no disk, memory or open files left, a disk that cannot be
    written, a database in trouble. Elsewhere the same record would do, so it must not be set aside."""
    databases = (sqlite3.Error, duckdb.Error) if (duckdb := sys.modules.get("duckdb")) else (sqlite3.Error,)
    return isinstance(error, (*databases, MemoryError)) or bool(
        (isinstance(error, OSError) and error.errno in (*_FULL, *_OPEN_FILES, errno.ENOMEM, errno.EROFS))
        or _FULL_WORDS.search(str(error))
        or _MEMORY_WORDS.search(str(error))
    )


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
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM or _MEMORY_WORDS.search(words):
        return f"{_place(error, about)}not enough memory{_of_gpu(words)}"
    if isinstance(error, OSError) and error.errno in _OPEN_FILES:
        return f"{_place(error, about)}too many files are open; allow more (ulimit -n), and run the same command again"
    if isinstance(error, OSError) and error.strerror is not None:
        said = " ".join(error.strerror.split())
        return f"{_place(error, about)}{said}; give a path that can be read or written"
    return ""


def _of_gpu(words: str) -> str:
    """The rest of a sentence on memory."""
    if "CUDA" in words or "HIP" in words:
        return " on the GPU; lower the size of a batch (training.micro_batch_tokens), or let fewer processes share it"
    return "; close other programs, or lower cluster.data_workers"


def _place(error: BaseException, about: str = "") -> str:
    notes = getattr(error, "__notes__", [])
    path = getattr(error, "filename", None) or (notes[0] if notes else about)
    return f"{os.fsdecode(path)}: " if isinstance(path, (str, bytes)) and path else ""
