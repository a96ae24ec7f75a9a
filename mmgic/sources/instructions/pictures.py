"""The images of instruction records: named by file, or held inside a Parquet file."""

from __future__ import annotations

import posixpath
from typing import Any

from mmgic.errors import InputError
from mmgic.files import filesystem_of, whole_file
from mmgic.settings import SourceSettings
from mmgic.sources.reading.files import ImageFinder, image_folders
from mmgic.sources.reading.near_names import inner_parts

MAX_BYTES = 64 << 20  # of an image inside a Parquet file
UNPACKED = "unpacked"  # folder in the source's image folder
_SUFFIXES = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpg", b"RIFF": "webp", b"GIF8": "gif"}


class Pictures:
    """Paths of a source's images. Bytes out of a Parquet file are written once to `<images>/unpacked`."""

    def __init__(self, source: SourceSettings) -> None:
        self._source = source
        self._finder: ImageFinder | None = None  # a source of texts alone has no image folder
        self._folder = posixpath.join(*image_folders(source)[:1] or [source.path], UNPACKED)

    def path(self, image: Any, record: str) -> str:
        """The path of `image`, a file's name, its bytes or datasets' {"bytes", "path"}; "" if it is none of them.

        `record` is a name of its own for an image that comes as bytes.
        """
        content = image.get("bytes") if isinstance(image, dict) else image
        if isinstance(content, bytes) and 0 < len(content) <= MAX_BYTES:
            return self._unpack(content, record)
        name = image.get("path") if isinstance(image, dict) else image
        if not isinstance(name, str) or not inner_parts(name):
            return ""
        self._finder = self._finder or ImageFinder(self._source)
        return self._finder.path(name.removeprefix("./"))

    def _unpack(self, content: bytes, record: str) -> str:
        suffix = next((name for mark, name in _SUFFIXES.items() if content.startswith(mark)), "img")
        safe = "".join(c if c.isalnum() or c in "-_" else "_" for c in record)
        path = posixpath.join(self._folder, f"{safe}.{suffix}")
        filesystem, inner = filesystem_of(path)
        try:
            if not filesystem.exists(inner) or filesystem.size(inner) != len(content):
                with whole_file(path) as file:
                    file.write(content)
        except OSError as error:
            raise InputError(
                f"source '{self._source.name}': its images are inside its Parquet files and cannot be unpacked to "
                f"{self._folder} ({error.strerror or error}); make that folder writable"
            ) from None
        return path
