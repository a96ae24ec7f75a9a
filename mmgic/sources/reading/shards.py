"""Images that img2dataset (or our own download) has fetched: tar shards with .jpg, .txt and .json, and their Parquet.

`00012.tar` holds `KEY.jpg`, `KEY.txt` (the caption) and `KEY.json` (url, width, height, ...) of each image that
arrived, one after the other; `00012.parquet` beside it has a row for each url that was tried, with its `status`. The
other layouts of img2dataset are understood too: a folder `00012/` of the same files beside `00012.parquet`
(`--output_format files`), and a `00012.parquet` that holds the images themselves in a column `jpg` (`parquet`). Its
`tfrecord` is refused. `width` and `height` are those of the stored image: by default img2dataset makes it 256 x 256
with white borders, so data that is to be filtered by size should be fetched with `--resize_mode no`.
"""

from __future__ import annotations

import posixpath
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from mmgic.errors import InputError
from mmgic.files import filesystem_of, find_files, is_hidden, open_file
from mmgic.images import cell_path, slice_path
from mmgic.settings import SourceSettings
from mmgic.sources.reading.files import image_folders, image_size, is_safe_name, text_id
from mmgic.sources.reading.index import RecordIndex
from mmgic.sources.reading.json_text import load_json
from mmgic.sources.reading.near_names import NearNames
from mmgic.sources.reading.opening import known_kind, readable
from mmgic.sources.reading.records import parquet_columns, parquet_records

IMAGE_SUFFIXES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "jp2", "ppm")
_TEXT_SUFFIXES = ("txt", "json")
_MAX_TEXT = 1 << 20  # bytes of a .txt or .json


@dataclass
class ShardSample:
    """The files of one key. `image_path` is "" if there is no image among them."""

    key: str
    image_path: str = ""
    text: str = ""
    fields: dict[str, Any] = field(default_factory=dict)  # of the .json

    @property
    def size(self) -> dict[str, Any]:
        """The columns `width` and `height`, empty if they are not known."""
        size = image_size(self.fields)
        return {"width": size[0], "height": size[1]} if size else {}


def read_shard(path: str) -> Iterator[ShardSample]:
    """The samples of a tar shard, of a folder of its files, or of a table that holds the images of what was fetched.

    Of images nothing is read but headers of archives.

    They come in the order of their first files. Files of one key make a sample wherever they stand in the archive. The
    second file of a suffix begins a second sample of the key, `KEY#2`. Hidden files are passed over. Raises InputError
    if a file is not an uncompressed tar archive, or a table, or was cut short.
    """
    if path.endswith(".parquet"):
        yield from _tabled(path)
        return
    with RecordIndex() as index:
        index.fill("file", _archived(path) if path.endswith(".tar") else _unpacked(path))
        dotted = [(_first_part(stem), stem) for stem in index.keys("file") if _first_part(stem) != stem]
        index.fill("dotted", dotted)
        index.build()
        for stem in index.keys("file"):
            files = index.get("file", stem)
            if _is_part(stem, files, index):
                continue
            for other in index.get("dotted", stem) if dotted else ():
                if _is_part(other, parts := index.get("file", other), index):
                    files += [[f"{other[len(stem) + 1 :]}.{suffix}", *rest] for suffix, *rest in parts]
            yield from _samples(stem, files)


def _archived(path: str) -> Iterator[tuple[str, list[str]]]:
    """(name without its last suffix, [suffix, path, text]) of the files in a tar shard."""
    try:
        with open_file(path) as file, tarfile.open(fileobj=file, mode="r:", errors="replace") as tar:
            while (member := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # it would keep them all
                stem, suffix = posixpath.splitext(member.name.removeprefix("./"))
                if suffix and member.isreg() and not member.issparse() and not is_hidden(member.name):
                    suffix = suffix[1:].lower()
                    text = _member_text(tar, member) if suffix in _TEXT_SUFFIXES else ""
                    yield stem, [suffix, slice_path(path, member.offset_data, member.size), text]
    except (OSError, tarfile.TarError) as error:
        if kind := known_kind(path):
            raise InputError(f"{path} is {kind}") from None
        raise InputError(
            f"{path} is not an uncompressed tar archive or was cut short ({error}); unpack, complete or delete it"
        ) from None


def _member_text(tar: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    content = tar.extractfile(member) if member.size <= _MAX_TEXT else None
    return content.read().decode("utf-8-sig", "replace") if content else ""


def _unpacked(folder: str) -> Iterator[tuple[str, list[str]]]:
    """`_archived` of a folder of the files."""
    for path in find_files(f"{folder}/*"):
        stem, suffix = posixpath.splitext(posixpath.basename(path))
        if suffix := suffix[1:].lower():
            with readable(path), open_file(path) as file:
                content = file.read(_MAX_TEXT) if suffix in _TEXT_SUFFIXES else b""
            yield stem, [suffix, path, content.decode("utf-8-sig", "replace")]


def _tabled(table: str) -> Iterator[ShardSample]:
    """The samples of a table with images: the rows whose status is "success"."""
    column = image_column(table)
    others = {name: (name,) for name in parquet_columns(table) if name.lower() not in IMAGE_SUFFIXES}
    for number, record in enumerate(parquet_records(table, {**others, "key": ("key",), "status": ("status",)})):
        if record["status"] == "success":
            yield ShardSample(text_id(record["key"]), cell_path(table, column, number), fields=record)


def image_column(table: str) -> str:
    """The column of a Parquet file that holds images: binary, and named like their suffix; "" if it has none."""
    columns = parquet_columns(table)
    binary = (name for name, kind in columns.items() if name.lower() in IMAGE_SUFFIXES and "binary" in str(kind))
    return next(binary, "")


def _first_part(stem: str) -> str:
    """A name up to the first dot of the file's own, which is where WebDataset says that a key ends."""
    folder, name = posixpath.split(stem)
    return posixpath.join(folder, name.partition(".")[0] or name)


def _is_part(stem: str, files: list[list[str]], index: RecordIndex) -> bool:
    """If `a.seg` is a part of the sample `a`: `a` has files of its own, and `a.seg` no caption and no metadata."""
    first = _first_part(stem)
    return first != stem and not any(file[0] in _TEXT_SUFFIXES for file in files) and bool(index.get("file", first))


def _samples(stem: str, files: list[list[str]]) -> Iterator[ShardSample]:
    """The samples of one key: the n-th file of each suffix belongs to the n-th sample."""
    samples: list[ShardSample] = []
    times = Counter[str]()
    for suffix, path, text in files:
        number = times[suffix]
        times[suffix] += 1
        if number == len(samples):
            samples.append(ShardSample(f"{stem}#{number + 1}" if number else stem))
        sample = samples[number]
        if suffix == "txt":
            sample.text = text
        elif suffix == "json":
            sample.fields = _json_object(text)
        elif suffix.rpartition(".")[2] in IMAGE_SUFFIXES:
            sample.image_path = sample.image_path or path
    yield from samples


def _json_object(text: str) -> dict[str, Any]:
    try:
        record = load_json(text)
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


class LocalImages:
    """The images of a source that are at hand in its `images` folders, found by url or by name."""

    def __init__(self, source: SourceSettings, index: RecordIndex) -> None:
        """Stores the urls of shards in `index`, which must not be built yet. No folder means no images at hand."""
        self._index = index
        self._filesystem, _ = filesystem_of(source.path)
        self._folders = [folder for folder in image_folders(source) if self._filesystem.isdir(folder)]
        self._near = NearNames(self._filesystem)
        downloaded = chain.from_iterable(map(_downloaded, self._folders))
        self._has_urls = bool(index.fill("image", downloaded)) if self._folders else False

    def by_url(self, url: str) -> dict[str, Any]:
        """The columns image_path, width and height of the image that `url` led to; none if it is not at hand."""
        found = self._index.get("image", url) if self._has_urls else []
        return dict(zip(("image_path", "width", "height"), found[0], strict=True)) if found else {}

    def find(self, *names: Any, url: str = "") -> str:
        """The path of the first of the files `names` in the folder, else of the image that `url` led to, else ""."""
        named = next(filter(None, map(self._by_name, names)), "")
        return named or str(self.by_url(url).get("image_path", ""))

    def _by_name(self, name: Any) -> str:
        paths = (posixpath.join(folder, name) for folder in self._folders) if is_safe_name(name) else ()
        return next(filter(self._filesystem.exists, paths), "") or self._near.find(name, self._folders)


def find_shards(folder: str) -> list[str]:
    """The shards of a folder, sorted: tar archives, folders of files beside a table of their name, tables with images.

    Raises InputError if it holds img2dataset's .tfrecord files.
    """
    if records := shard_files(folder, "*.tfrecord"):
        raise InputError(
            f"{records[0]} is of img2dataset's layout 'tfrecord', which is not read; fetch the images with "
            "--output_format webdataset, files or parquet, or convert them to one of these"
        )
    filesystem, _ = filesystem_of(folder)
    archives = set(shard_files(folder))
    found = list(archives)
    for table in shard_files(folder, "*.parquet"):
        stem = table.removesuffix(".parquet")
        if f"{stem}.tar" not in archives:
            if filesystem.isdir(stem):
                found.append(stem)
            elif image_column(table):
                found.append(table)
    return sorted(found)


def shard_files(folder: str, pattern: str = "*.tar") -> list[str]:
    """The files of a folder that `pattern` fits, sorted."""
    return find_files(posixpath.join(folder, pattern))


def _downloaded(folder: str) -> Iterator[tuple[str, Any]]:
    """(url, [image_path, width, height]) of the images in all shards of a folder."""
    for path in find_shards(folder):
        for sample in read_shard(path) if path.endswith((".tar", ".parquet")) else _listed(path):
            url = sample.fields.get("url")
            if sample.image_path and isinstance(url, str):
                size = sample.size
                yield url, [sample.image_path, size.get("width", 0), size.get("height", 0)]


def _listed(folder: str) -> Iterator[ShardSample]:
    """The images in a folder of files by the table beside it, which is read faster than a .json of each."""
    pictures = _pictures(folder)
    for record in shard_records(f"{folder}.parquet"):
        if record["status"] == "success" and record["key"] in pictures:
            yield ShardSample(record["key"], pictures[record["key"]], fields=record)


def _pictures(folder: str) -> dict[str, str]:
    """Key -> path of the images in one folder of img2dataset, which holds as many as a shard."""
    paths = (path for path in find_files(f"{folder}/*") if path.rpartition(".")[2].lower() in IMAGE_SUFFIXES)
    return {posixpath.basename(path).rpartition(".")[0]: path for path in paths}


def shard_records(path: str) -> Iterator[dict[str, Any]]:
    """key, url, status, error_message, width and height of each url that a shard's Parquet tells of."""
    names = ("key", "url", "status", "error_message", "width", "height")
    columns = {name: (name,) for name in names}
    for record in parquet_records(path, columns, optional=("error_message", "width", "height")):
        yield {**{name: record.get(name) for name in names}, "key": text_id(record["key"])}
