"""Writing a tar shard as img2dataset lays it out (see `mmgic.sources.reading.shards`)."""

from __future__ import annotations

import hashlib
import io
import json
import posixpath
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mmgic.files import find_files, remove, whole_file
from mmgic.images import ImageError, slice_path
from mmgic.stages import tables

_METADATA = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in ("key", "url", "caption", "status", "error_message")),
        *(pa.field(name, pa.int32()) for name in ("width", "height", "original_width", "original_height")),
        pa.field("sha256", pa.string()),
    ]
)


@dataclass(frozen=True)
class Fetched:
    """An image that arrived and decodes. Its bytes lie in `file` until the shard is written."""

    file: Path
    suffix: str
    width: int
    height: int


@dataclass(frozen=True)
class ShardEntry:
    """One url of a shard. `fields` are further columns for the image's .json."""

    key: str
    url: str
    caption: str
    fields: dict[str, str]
    result: Fetched | ImageError


def write_shard(stem: str, entries: Sequence[ShardEntry]) -> dict[str, str]:
    """Writes `stem`.tar and `stem`.parquet, each whole or not at all; returns url -> image path of what is in the tar.

    The same entries give the same bytes.
    """
    paths = {}
    metadata = []
    with (
        whole_file(f"{stem}.tar") as file,
        tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for entry in entries:
            content = entry.result.file.read_bytes() if isinstance(entry.result, Fetched) else b""
            record = _record(entry, content)
            metadata.append(record)
            if isinstance(entry.result, Fetched):
                offset = _add(tar, f"{entry.key}.{entry.result.suffix}", content)
                paths[entry.url] = slice_path(f"{stem}.tar", offset, len(content))
                if entry.caption:
                    _add(tar, f"{entry.key}.txt", entry.caption.encode())
                _add(tar, f"{entry.key}.json", json.dumps({**record, **entry.fields}).encode())
    tables.write_part(f"{stem}.parquet", pa.Table.from_pylist(metadata, schema=_METADATA))
    return paths


def remove_orphans(folder: str, image_paths: Iterable[pa.Array]) -> None:
    """Removes the shards in `folder` of which `image_paths` (strings) name no image, and what kills left unfinished."""
    named: set[str] = set()
    for paths in image_paths:
        found = pc.extract_regex(paths, r"(?P<stem>[0-9a-f]{16})\.tar#bytes=")
        named.update(pc.unique(pc.struct_field(found, "stem")).to_pylist())
    for file in find_files(f"{folder}/*"):
        if file.endswith(".unfinished") or posixpath.basename(file).partition(".")[0] not in named:
            remove(file)


def _record(entry: ShardEntry, content: bytes) -> dict[str, Any]:
    record: dict[str, Any] = {"key": entry.key, "url": entry.url, "caption": entry.caption}
    if isinstance(entry.result, ImageError):
        return {**record, "status": "failed_to_download", "error_message": str(entry.result)}
    width, height = entry.result.width, entry.result.height
    return {
        **record,
        "status": "success",
        "error_message": None,
        "width": width,
        "height": height,
        "original_width": width,
        "original_height": height,
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> int:
    """Adds a file and returns where its bytes begin."""
    member = tarfile.TarInfo(name)  # its time and owner are zero: the same content gives the same bytes
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
    blocks = -(-len(content) // tarfile.BLOCKSIZE)
    return tar.offset - blocks * tarfile.BLOCKSIZE
