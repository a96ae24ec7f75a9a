"""Images that img2dataset (or our own download) has fetched: tar shards with .jpg, .txt and .json, and their Parquet.

`00012.tar` holds `KEY.jpg`, `KEY.txt` (the caption) and `KEY.json` (url, width, height, ...) of each image that
arrived, one after the other; `00012.parquet` beside it has a row for each url that was tried, with its `status`. The
other layout of img2dataset, a folder `00012/` of the same files beside `00012.parquet`, is understood too. `width` and
`height` are those of the stored image: by default img2dataset makes it 256 x 256 with white borders, so data that is to
be filtered by size should be fetched with `--resize_mode no`.
"""

from __future__ import annotations

import posixpath
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from mmgic.errors import InputError
from mmgic.files import filesystem_of, find_files, open_file
from mmgic.images import slice_path
from mmgic.settings import SourceSettings
from mmgic.sources.reading.files import image_folders, image_size, is_safe_name
from mmgic.sources.reading.index import RecordIndex
from mmgic.sources.reading.json_text import load_json
from mmgic.sources.reading.near_names import NearNames
from mmgic.sources.reading.records import parquet_records

IMAGE_SUFFIXES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "jp2", "ppm")
_MEMBER = re.compile(r"((?:.*/)?[^./]+)\.([^/]+)")  # a sample's key ends at the first dot of the file's name
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
    """The samples of a tar shard in their order; only headers, captions and metadata are read.

    Raises InputError if the file is not an uncompressed tar archive or was cut short.
    """
    sample: ShardSample | None = None
    try:
        with open_file(path) as file, tarfile.open(fileobj=file, mode="r:", errors="replace") as tar:
            while (member := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # it would keep them all
                match = _MEMBER.fullmatch(member.name)
                if match is None or not member.isreg() or member.issparse():
                    continue
                if sample is None or sample.key != match[1]:
                    if sample is not None:
                        yield sample
                    sample = ShardSample(match[1])
                _add_file(sample, path, tar, member, match[2].lower())
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except tarfile.TarError as error:
        raise InputError(
            f"{path} is not an uncompressed tar archive or was cut short ({error}); unpack, complete or delete it"
        ) from None
    if sample is not None:
        yield sample


def _add_file(sample: ShardSample, path: str, tar: tarfile.TarFile, member: tarfile.TarInfo, suffix: str) -> None:
    if suffix.rpartition(".")[2] in IMAGE_SUFFIXES:
        sample.image_path = sample.image_path or slice_path(path, member.offset_data, member.size)
    elif suffix in ("txt", "json") and member.size <= _MAX_TEXT:
        content = tar.extractfile(member)
        text = content.read().decode(errors="replace") if content else ""
        if suffix == "txt":
            sample.text = text
        else:
            sample.fields = _json_object(text)


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


def shard_files(folder: str, pattern: str = "*.tar") -> list[str]:
    """The files of a folder that `pattern` fits, sorted."""
    return find_files(posixpath.join(folder, pattern))


def _downloaded(folder: str) -> Iterator[tuple[str, Any]]:
    """(url, [image_path, width, height]) of the images in all shards of a folder."""
    shards = shard_files(folder)
    for path in shards:
        for sample in read_shard(path):
            url = sample.fields.get("url")
            if sample.image_path and isinstance(url, str):
                size = sample.size
                yield url, [sample.image_path, size.get("width", 0), size.get("height", 0)]
    for path in shard_files(folder, "*.parquet"):
        stem = path.removesuffix(".parquet")
        if f"{stem}.tar" not in shards:
            for record in shard_records(path):
                if record["status"] == "success" and is_safe_name(record["key"]) and isinstance(record["url"], str):
                    width, height = image_size(record) or (0, 0)
                    yield record["url"], [f"{stem}/{record['key']}.jpg", width, height]


def shard_records(path: str) -> Iterator[dict[str, Any]]:
    """key, url, status, error_message, width and height of each url that a shard's Parquet tells of."""
    names = ("key", "url", "status", "error_message", "width", "height")
    columns = {name: (name,) for name in names}
    for record in parquet_records(path, columns, optional=("error_message", "width", "height")):
        yield {name: record.get(name) for name in names}
