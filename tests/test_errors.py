"""One rule makes a sentence of whatever breaks that is not a fault of ours."""

from __future__ import annotations

import errno
import pickle
import sqlite3
import sys
import tempfile
from pathlib import Path

import duckdb
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mmgic.cli import report_errors
from mmgic.errors import InputError, about, explained
from mmgic.files import whole_file, whole_folder
from mmgic.images import read_image
from mmgic.settings import SettingsError
from mmgic.sources.reading.index import RecordIndex
from mmgic.sources.reading.sorting import Sorter
from mmgic.stages.rows import EachRow

WHOLE = f"{tempfile.gettempdir()}/mmgic-test-errors/whole"


class _Wrapped(Exception):
    """As Ray hands on what a worker raised: a text that is a stack trace, and the error itself as its cause."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__("Traceback (most recent call last): ...")
        self.cause = cause


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (InputError("a; do b"), "a; do b"),
        (SettingsError("c; do d"), "c; do d"),
        (_Wrapped(InputError("a; do b")), "a; do b"),
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), "/x/y: no room is left on the disk"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "no room is left on the disk"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "no room is left on the disk"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "/x: Permission denied; give a path"),
        (_Wrapped(PermissionError(errno.EACCES, "Permission denied", "/x")), "/x: Permission denied; give a path"),
        (sqlite3.OperationalError("database or disk is full"), "SQLite says: database or disk is full; make room"),
        (duckdb.IOException("IO Error: cannot write\nmore"), "DuckDB says: IO Error: cannot write more; make room"),
        (MemoryError(), "not enough memory; close other programs"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "not enough memory; close other programs"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "not enough memory on the GPU; lower the size"),
        (OSError(errno.EMFILE, "Too many open files", "/x"), "/x: too many files are open; allow more (ulimit -n)"),
    ],
)
def test_errors_of_the_system_and_of_libraries(error: Exception, sentence: str) -> None:
    assert sentence in explained(error)
    assert sentence in explained(pickle.loads(pickle.dumps(error)) if not isinstance(error, _Wrapped) else error)
    assert "\n" not in explained(error)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        OSError(errno.EMFILE, "Too many open files"),
        OSError(errno.EROFS, "Read-only file system"),
        sqlite3.OperationalError("database or disk is full"),
        duckdb.OutOfMemoryException("failed to allocate"),
        RuntimeError("PytorchStreamWriter failed writing file"),
        MemoryError(),
    ],
)
def test_a_fault_of_the_machine_is_no_fault_of_a_row(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(row: object) -> object:
        raise error

    with pytest.raises(type(error)):
        EachRow(fail)([{"row_id": 1}])
    assert explained(error)
    if isinstance(error, OSError):  # nor of an image
        monkeypatch.setattr("mmgic.images.open_file", fail)
        with pytest.raises(OSError, match=str(error.strerror)):
            read_image("a.png")


@pytest.mark.parametrize(
    "error", [PermissionError(errno.EACCES, "Permission denied"), OSError("truncated"), ValueError("no"), KeyError("x")]
)
def test_what_a_row_is_at_fault_for_sets_it_aside(error: Exception) -> None:
    def fail(row: object) -> object:
        raise error

    [row] = EachRow(fail)([{"row_id": 1}])
    assert (row["keep"], row["reason"]) == (False, "stage_error")


@pytest.mark.parametrize("error", [KeyError("x"), ZeroDivisionError(), _Wrapped(KeyError("x")), OSError("no errno")])
def test_faults_of_ours_keep_their_stack_trace(error: Exception) -> None:
    assert explained(error) == ""


def test_the_first_note_says_what_it_is_about() -> None:
    with pytest.raises(OSError, match="full") as caught, about("/outer"), about("/inner"):
        raise OSError(errno.ENOSPC, "full")
    assert explained(caught.value, "/work").startswith("/inner: no room is left")
    assert explained(OSError(errno.ENOSPC, "full"), "/work").startswith("/work: no room is left")


def _tensors(path: str) -> None:
    with whole_folder(Path(path)) as folder:
        save_file({"a": torch.zeros(4)}, folder / "a.safetensors")
        (folder / "full").symlink_to("/dev/full")
        (folder / "full").write_text("a")


def _pickles(path: str) -> None:
    with about(path), open("/dev/full", "wb") as file:
        torch.save({"a": torch.zeros(1 << 16)}, file)


def _array(path: str) -> None:
    with about(path), open("/dev/full", "wb") as file:
        np.save(file, np.zeros(1 << 16))


@pytest.mark.parametrize("work", [_tensors, _pickles, _array])
def test_a_full_disk_is_one_sentence_with_the_path(work, tmp_path, capsys) -> None:
    path = str(tmp_path / "result")
    assert report_errors(lambda: work(path)) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert "no room is left on the disk" in said
    assert said.count("\n") == 1


def _limited(work) -> None:
    """`work` where no file may grow beyond 100 kB."""
    import resource
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    sys.exit(report_errors(work))


def _index() -> None:
    with RecordIndex() as index:
        index.fill("a", ((str(i), "x" * 1000) for i in range(100_000)))


def _sort() -> None:
    import pyarrow as pa

    with Sorter() as sorter:
        sorter.store({"a": pa.string()}, ((str(i) * 99,) for i in range(100_000)))


def _whole() -> None:
    with whole_file(WHOLE) as file:
        file.write(bytes(1_000_000))


@pytest.mark.parametrize(("work", "said"), [(_index, "SQLite"), (_sort, "DuckDB"), (_whole, WHOLE)])
def test_temporary_files_that_cannot_grow_are_one_sentence(work, said, capfd) -> None:
    from multiprocessing import get_context

    process = get_context("spawn").Process(target=_limited, args=(work,))
    process.start()
    process.join(60)
    assert process.exitcode == 2
    error = capfd.readouterr().err
    assert error.startswith("error: ")
    assert said in error
    assert error.count("\n") == 1


def test_an_interrupt_is_no_dump(capsys) -> None:
    def stopped() -> None:
        raise KeyboardInterrupt

    assert report_errors(stopped) == 130
    assert capsys.readouterr().err == "interrupted; the same command goes on where it was\n"
