"""Files of any fsspec path: found, read, written whole, known by their content."""

from __future__ import annotations

import fcntl
import fnmatch
import hashlib
import json
import os
import posixpath
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

import fsspec
import yaml
from fsspec.implementations.local import LocalFileSystem

from mmgic.errors import InputError, about
from mmgic.paths import is_local, plain


def filesystem_of(path: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """Where `path` lies, and its path there. Raises InputError for a store that this installation cannot open."""
    path = plain(path)
    if is_local(path):  # fsspec would part a folder's name at "::"
        return LocalFileSystem(), os.path.abspath(path)
    try:
        filesystem, inner = fsspec.url_to_fs(path)
    except (ValueError, ImportError) as error:
        raise InputError(
            f"{path} cannot be opened ({error}); install the driver of that store, or give another path"
        ) from None
    return filesystem, str(inner)


def open_file(path: str) -> IO[bytes]:
    """The file at `path`, to read its bytes. Raises like `filesystem_of`, and OSError."""
    filesystem, inner = filesystem_of(path)
    return cast(IO[bytes], filesystem.open(inner, "rb"))


def find_files(pattern: str) -> list[str]:
    """The files that `pattern` names, sorted: a path whose last part may hold * ? or [. Local ones are whole paths.

    Its folders are taken as they are, for a folder may be called anything, and so is the name of a file that is there.
    A pattern names no hidden files.
    """
    filesystem, path = filesystem_of(pattern)
    found = _matches(filesystem, path)
    return found if is_local(pattern) else [filesystem.unstrip_protocol(file) for file in found]


def _matches(filesystem: fsspec.AbstractFileSystem, path: str) -> list[str]:
    folder, name = posixpath.split(path)
    if filesystem.isfile(path):
        return [path]
    if not _is_pattern(name) or not filesystem.isdir(folder):
        return []
    paths = [posixpath.join(folder, posixpath.basename(file)) for file in filesystem.ls(folder, detail=False)]
    shown = (file for file in paths if not is_hidden(posixpath.basename(file)))
    fits = (file for file in shown if fnmatch.fnmatchcase(posixpath.basename(file), name))
    return sorted(file for file in fits if filesystem.isfile(file))


def is_hidden(path: str) -> bool:
    """If a part of `path` is what systems put beside data: `.DS_Store`, `._image.jpg`, `__MACOSX/image.jpg`."""
    return any(part == "__MACOSX" or (part.startswith(".") and part.strip(".")) for part in path.split("/"))


def _is_pattern(name: str) -> bool:
    return any(mark in name for mark in "*?[")


def file_digest(path: str) -> str:
    """SHA-256 of a file's bytes, in memory of one block. Raises InputError if it cannot be read."""
    try:
        with open_file(path) as file:
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    return digest.hexdigest()


def end_digest(path: str) -> str:
    """SHA-256 of a file's size and its last MiB, which holds what a table of large things says of them."""
    with open_file(path) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - (1 << 20)))
        return hashlib.sha256(f"{size}\0".encode() + file.read()).hexdigest()


def file_digests(patterns: Iterable[str]) -> dict[str, str]:
    """Path -> SHA-256 of the files that `patterns` (see `find_files`) name and that are there."""
    return {path: file_digest(path) for pattern in patterns for path in find_files(pattern)}


def model_fingerprint(folder: str | os.PathLike[str]) -> str:
    """What tells a local folder's model from others wherever it lies: the names, sizes and ends of its weights and
    configurations at any depth. Of each file only the last MiB is read; other weights differ there as well.
    """
    digest = hashlib.sha256()
    for path in sorted(Path(folder).rglob("*")):
        if path.suffix not in (".json", ".safetensors", ".bin") or path.name == "metrics.json" or path.is_dir():
            continue
        size = path.stat().st_size
        with path.open("rb") as file:
            file.seek(max(0, size - (1 << 20)))
            digest.update(f"{path.relative_to(folder)}\0{size}\0".encode() + file.read())
    return digest.hexdigest()[:16]


def read_text(path: str) -> str | None:
    """The text of a file, or None if there is none."""
    filesystem, path = filesystem_of(path)
    return str(filesystem.read_text(path, encoding="utf-8")) if filesystem.exists(path) else None


def read_mapping(path: str, advice: str) -> dict[str, Any] | None:
    """The mapping in a .json or .yaml file that we wrote, or None if there is none.

    Raises InputError for any other content, with the `advice` what to do.
    """
    try:
        text = read_text(path)
        if text is None:
            return None
        found = json.loads(text) if path.endswith(".json") else yaml.safe_load(text)
    except (ValueError, RecursionError, yaml.YAMLError):
        found = None
    if not isinstance(found, dict):
        raise InputError(f"{path} is damaged; {advice}")
    return found


def write_text(path: str, text: str) -> None:
    """Writes a file that is either whole or not there."""
    with whole_file(path) as file:
        file.write(text.encode())


def remove(folder: str) -> None:
    filesystem, path = filesystem_of(folder)
    if filesystem.exists(path):
        filesystem.rm(path, recursive=True)


def staged(url: str) -> Path:
    """The local copy of the folder at `url`, made once on each machine, whole or not at all, under TMPDIR; if the files
    there change, another. Raises InputError if there is no such folder or it cannot be copied.
    """
    filesystem, folder = filesystem_of(url)
    names = sorted(file[len(folder) :].lstrip("/") for file in filesystem.find(folder))
    if not names or any(".." in name.split("/") for name in names):
        raise InputError(f"{url} is no folder with files; give the folder that holds them")
    state = "".join(f"{name}\0{filesystem.ukey(posixpath.join(folder, name))}\0" for name in names)
    cache = Path(tempfile.gettempdir(), f"mmgic-{os.getuid()}")
    cache.mkdir(mode=0o700, exist_ok=True)
    if cache.stat().st_uid != os.getuid():
        raise InputError(f"{cache} belongs to another user; set TMPDIR to a folder of your own")
    copy = cache / hashlib.sha256(f"{url}\0{state}".encode()).hexdigest()[:16]
    with (cache / f"{copy.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the other workers of this machine wait for the one that copies
        if not copy.is_dir():
            with whole_folder(copy) as unfinished:
                for name in names:
                    (unfinished / name).parent.mkdir(parents=True, exist_ok=True)
                    filesystem.get_file(posixpath.join(folder, name), str(unfinished / name))
    return copy


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A local folder to fill, which is at `folder` once it is whole; what was there before is replaced."""
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    with about(folder):
        yield unfinished
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)


@contextmanager
def whole_file(path: str) -> Iterator[IO[bytes]]:
    """A file to write, which is at `path` once it is whole.

    A task that was thought lost and the one that does its work again may write one path at once: each writes a file of
    its own, and the last to finish stands.
    """
    filesystem, path = filesystem_of(path)
    filesystem.makedirs(posixpath.dirname(path), exist_ok=True)
    unfinished = f"{path}.{os.getpid()}-{secrets.token_hex(4)}.unfinished"  # two machines may give one pid
    try:
        with about(path), filesystem.open(unfinished, "wb") as file:
            yield file
        filesystem.mv(unfinished, path)
    except BaseException:
        with suppress(FileNotFoundError):
            filesystem.rm_file(unfinished)
        raise
