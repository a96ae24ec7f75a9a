"""The text files of datasets as they are found: all readers open them here, and get UTF-8 whose lines end in "\\n".

A file may begin with a byte order mark, be written in UTF-16 or UTF-32 with one, end its lines as any system does, and
lie in a .gz or .zip archive, which is known by its first bytes. A file of another kind is refused for what it is.
"""

from __future__ import annotations

import codecs
import gzip
import io
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, cast

from mmgic.errors import InputError
from mmgic.files import is_hidden, open_file

BLOCK = 1 << 18  # bytes that are read at once
MAX_LINE = 64 << 20  # bytes; what is longer is no record

_HEAD = 512  # bytes that tell what a file is
_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
# UTF-32's little-endian mark begins with that of UTF-16
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_KINDS = {
    b"version https://git-lfs.github.com/spec/": "a Git LFS pointer; fetch the file that it stands for (git lfs pull)",
    b"/annex/objects/": "a git-annex pointer; fetch the file that it stands for (git annex get)",
    b"<!doctype html": "a web page; download the file itself",
    b"<html": "a web page; download the file itself",
    b"bzh": "a bzip2 archive; unpack it",
    b"\xfd7zxz": "an xz archive; unpack it",
    b"(\xb5/\xfd": "a Zstandard archive; unpack it",
    b"7z\xbc\xaf": "a 7-Zip archive; unpack it",
    b"rar!": "a RAR archive; unpack it",
}


def kind_of(head: bytes) -> str:
    """What a file that begins with `head` is instead of data, with what to do; "" if nothing is known of it."""
    start = head.lstrip().lower()
    if not start:
        return "empty; download or export it again"
    return next((kind for mark, kind in _KINDS.items() if start.startswith(mark)), "")


def known_kind(path: str) -> str:
    """`kind_of` the file at `path`, for readers of binary files that found it to be of another kind."""
    with readable(path), open_file(path) as file:
        return kind_of(file.read(_HEAD))


@contextmanager
def readable(path: str) -> Iterator[None]:
    """What goes wrong in the body while `path` is read, as InputError."""
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is an archive that is damaged or cut short ({error}); download it again") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None


@contextmanager
def open_contents(path: str) -> Iterator[Iterator[IO[bytes]]]:
    """The texts of all files of an archive, one after the other, or that of the file itself.

    Raises InputError if the file cannot be read or is no text.
    """
    with readable(path), open_file(path) as file:
        yield _members(file, path)


@contextmanager
def open_content(path: str) -> Iterator[IO[bytes]]:
    """The text of a file, or of the one file of an archive. Raises InputError also if the archive holds several."""
    with open_contents(path) as contents:
        yield next(contents)
        if next(contents, None) is not None:
            raise InputError(f"{path} holds several files; unpack it and name one of them")


@contextmanager
def open_text(path: str) -> Iterator[io.TextIOWrapper]:
    """`open_content` as text, for the csv module. Raises InputError also if the file is not UTF-8."""
    with open_content(path) as content, io.TextIOWrapper(content, encoding="utf-8", newline="") as text:
        try:
            yield text
        except UnicodeDecodeError:
            raise not_utf8(path) from None


def text_lines(path: str) -> Iterator[tuple[int, str | None]]:
    """(number from 1, text) of the lines that are not empty; None for the text of a line that is not UTF-8.

    All files of an archive are read, one after the other. Raises InputError if the file is missing, a damaged archive,
    or holds no lines of a sensible length.
    """
    number = 0
    with open_contents(path) as contents:
        for content in contents:
            while line := content.readline(MAX_LINE):
                if len(line) == MAX_LINE:
                    raise InputError(f"{path} holds a line of {MAX_LINE >> 20} MiB; it should have a record a line")
                number += 1
                if line.strip():
                    yield number, _decoded(line)


def read_whole(path: str | os.PathLike[str]) -> str:
    """The text of a file that fits in memory. Raises InputError like `open_text`."""
    with open_text(os.fspath(path)) as text:
        return text.read()


def is_plain(path: str) -> bool:
    """If the bytes of a file are what `open_content` gives. All of them are read. Raises InputError like it."""
    with readable(path), open_file(path) as file:
        head = _head(file, path)
        if head.startswith((_GZIP, _ZIP, *_MARKS)):
            return False
        return not any(b"\r" in block for block in iter(lambda: file.read(BLOCK), b""))


def not_utf8(path: str) -> InputError:
    return InputError(f"{path} is not UTF-8 text; save it as UTF-8")


def _members(file: IO[bytes], path: str) -> Iterator[IO[bytes]]:
    """The text of an open file, or of each file of the .zip archive that it is; there is one at least."""
    head = _head(file, path)
    if head.startswith(_GZIP):
        with gzip.open(file) as unpacked:
            yield from _members(cast(IO[bytes], unpacked), path)
    elif head.startswith(_ZIP):
        with zipfile.ZipFile(file) as archive:
            names = [name for name in sorted(archive.namelist()) if not name.endswith("/") and not is_hidden(name)]
            if not names:
                raise InputError(f"{path} is an archive without files; download it again")
            for name in names:
                try:
                    member = archive.open(name)
                except RuntimeError as error:  # a password, or a compression that is not known
                    raise InputError(f"{path} is an archive that cannot be unpacked here ({error})") from None
                with member:
                    yield from _members(member, f"{name} in {path}")
    else:
        encoding = next((name for mark, name in _MARKS.items() if head.startswith(mark)), "")
        yield io.BufferedReader(_Blocks(_unix_lines(_utf8(file, encoding, path))), BLOCK)


def _head(file: IO[bytes], path: str) -> bytes:
    """The first bytes of a file, which stays at its beginning. Raises InputError if it is known to be of no use."""
    head = file.read(_HEAD)
    file.seek(0)
    if head.strip() and (kind := kind_of(head)):
        raise InputError(f"{path} is {kind}")
    if head.startswith(b"PAR1"):
        raise InputError(f"{path} is a Parquet file; give it the ending .parquet, or name another file")
    if not head.startswith((_GZIP, _ZIP, *_MARKS)) and head[:64].count(0) > 16:
        raise InputError(f"{path} is no text, or text in UTF-16 without a byte order mark; save it as UTF-8")
    return head


def _utf8(file: IO[bytes], encoding: str, path: str) -> Iterator[bytes]:
    if encoding == "utf-8-sig":
        file.read(len(codecs.BOM_UTF8))
    if encoding in ("", "utf-8-sig"):
        yield from iter(lambda: file.read(BLOCK), b"")
        return
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for block in iter(lambda: file.read(BLOCK), b""):
            yield decoder.decode(block).encode()
        yield decoder.decode(b"", final=True).encode()
    except UnicodeError:
        raise InputError(f"{path} is damaged {encoding.upper()} text; save it as UTF-8") from None


def _unix_lines(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """`blocks` with "\\n" for every "\\r\\n" and "\\r", which are line ends in each format that we read."""
    held = b""
    for block in blocks:
        if held or b"\r" in block:
            block = held + block
            held = b"\r" if block.endswith(b"\r") else b""  # "\n" may follow
            block = block[: len(block) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        yield block
    if held:
        yield b"\n"


class _Blocks(io.RawIOBase):
    """A file of the bytes that an iterator yields."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._rest = memoryview(block)
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


def _decoded(line: bytes) -> str | None:
    try:
        return line.decode().removesuffix("\n")
    except UnicodeDecodeError:
        return None
