"""The same datasets in other clothes: each format gives the same rows, or says what a file is."""

from __future__ import annotations

import gzip
import io
import json
import re
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from mmgic.errors import InputError
from mmgic.presets import preset
from mmgic.settings import SourceSettings
from mmgic.sources.formats import read_source

SOURCES = [s for s in preset("toy-all").sources if s.name not in ("objects365_v1", "v3det", "visual_genome_ambiguous")]
TEXTS = (".json", ".jsonl", ".csv", ".tsv", ".txt", ".zip")
UNREAD = '"zz_unread": [NaN, Infinity, -Infinity, {}], '.format("7" * 40)


def spread(content: bytes) -> bytes:
    """A JSON list or object on many lines, and lines of JSON as they are."""
    try:
        value = json.loads(content)
    except ValueError:
        return content
    return json.dumps(value, indent=1).encode()


def with_ends(content: bytes, *ends: bytes) -> bytes:
    each = cycle(ends)
    return re.sub(b"\n", lambda _: next(each), content)


def with_unread(content: bytes) -> bytes:
    """Values that JSON does not have in fields of all records, which nobody reads."""
    text = content.decode()
    try:
        outer = int(isinstance(json.loads(text), dict))  # an object of records gets no further member
    except ValueError:
        outer = 0
    if "{" not in text[:2]:
        return content
    return (text[:outer] + re.sub(r'\{(?=")', lambda _: "{" + UNREAD, text[outer:])).encode()


def as_lines(content: bytes) -> bytes:
    try:
        value = json.loads(content)
    except ValueError:
        return content
    is_list = isinstance(value, list) and len(value) > 1 and all(isinstance(item, dict) for item in value)
    return "".join(f"{json.dumps(item)}\n" for item in value).encode() if is_list else content


def as_array(content: bytes) -> bytes:
    try:
        records = [json.loads(line) for line in content.splitlines()]
    except ValueError:
        return content
    is_lines = len(records) > 1 and all(isinstance(record, dict) for record in records)
    return json.dumps(records).encode() if is_lines else content


DRESSES: dict[str, Callable[[bytes], bytes]] = {
    "mark": lambda content: b"\xef\xbb\xbf" + content,
    "utf-16": lambda content: content.decode().encode("utf-16"),
    "crlf": lambda content: with_ends(content, b"\r\n"),
    "mixed ends": lambda content: with_ends(content, b"\n", b"\r\n", b"\r"),
    "gzip": lambda content: gzip.compress(b"\xef\xbb\xbf" + content),
    "unread": with_unread,
    "lines": as_lines,
    "array": as_array,
}


@pytest.fixture
def folder(world: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of the source's dataset to change."""
    return Path(shutil.copytree(world / Path(request.getfixturevalue("source").path).name, tmp_path / "data"))


def texts(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.suffix in TEXTS and path.is_file())


def rows_of(source: SourceSettings, folder: Path) -> list[Any]:
    rows = list(read_source(replace(source, path=str(folder), karpathy="", flickr30k="")))
    return list(json.loads(json.dumps(rows).replace(str(folder), "")))


def dress(path: Path, change: Callable[[bytes], bytes]) -> bool:
    """Changes a file, or the files in an archive, and returns if that made a difference."""
    before = path.read_bytes()
    if path.suffix == ".json":
        path.write_bytes(spread(before))
    if path.suffix == ".zip":
        with zipfile.ZipFile(io.BytesIO(before)) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("__MACOSX/._docs.jsonl", b"\0\5\x16\7 no data")
            for name, content in files.items():
                archive.writestr(name, change(content))
    else:
        path.write_bytes(change(path.read_bytes()))
    return path.read_bytes() != before


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_rows_are_the_same_in_any_dress(source: SourceSettings, folder: Path, tmp_path: Path) -> None:
    plain = rows_of(source, folder)
    original = tmp_path / "original"
    shutil.copytree(folder, original)
    dressed = 0
    for name, change in DRESSES.items():
        changed = [dress(path, change) for path in texts(folder)]
        dressed += any(changed)
        if any(changed):
            assert rows_of(source, folder) == plain, name
            shutil.copytree(original, folder, dirs_exist_ok=True)
    assert dressed >= 4 or not list(texts(folder))


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_packed_files_are_found_by_the_same_names(source: SourceSettings, folder: Path) -> None:
    plain = rows_of(source, folder)
    for path in texts(folder):
        if path.name != "prompt.json" and path.suffix != ".zip":
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
    assert rows_of(source, folder) == plain


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_hidden_files_are_no_data(source: SourceSettings, folder: Path) -> None:
    plain = rows_of(source, folder)
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X" + bytes(40))
        if path.suffix == ".tar":
            with tarfile.open(path, "a") as tar:
                for name in ("._0.jpg", "__MACOSX/._0.txt", ".DS_Store", "./._0.json"):
                    tar.addfile(tarfile.TarInfo(name))
    (folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    assert rows_of(source, folder) == plain


WRONG = {
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
    "a web page": b"<!DOCTYPE html>\n<html><title>Quota exceeded</title></html>\n",
    "a Zstandard archive": b"\x28\xb5\x2f\xfd" + bytes(range(200)),
}


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_what_is_no_data_is_named(source: SourceSettings, folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.suffix in (*TEXTS, ".parquet", ".tar") and path.is_file()]
    for kind, content in WRONG.items():
        for path in files:
            if path.name != "prompt.json":
                path.write_bytes(content)
        with pytest.raises(InputError, match=f"^{re.escape(str(folder))}/[^ ]+ is {kind}"):
            rows_of(source, folder)
