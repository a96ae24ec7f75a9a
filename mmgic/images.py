"""Reading images of any origin as RGB, with a reason if that fails.

An image is named by a path of the local disk or of an object store (STORES), or by a slice of an uncompressed archive
such as a tar shard, written `/data/00012.tar#bytes=OFFSET-LENGTH`: LENGTH bytes from byte OFFSET on are the image file.
Or by a cell of a Parquet file, `/data/00012.parquet#column=jpg&row=17`: the bytes of column `jpg` in row 17, from 0.
With `#upright` after any of them, the image is turned as its EXIF tag says.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.core import split_protocol
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from mmgic.errors import of_the_machine
from mmgic.files import filesystem_of, open_file
from mmgic.paths import is_local

MAX_PIXELS = 89_478_485  # where Pillow starts to suspect a decompression bomb; 268 MB decoded
MAX_SLICE_BYTES = 1 << 28  # of a slice, and of a column in a row group, whatever the table says
# Files come from strangers, under any name. Some of Pillow's other decoders start programs (EPS) or take any bytes.
# Of these, a Pillow that was built without a library has no decoder, and would stop at its name.
Image.init()
DECODERS = tuple(
    name for name in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM") if name in Image.OPEN
)
# So do their names, with a table that is imported. A url of http, ftp, webhdfs, abfs and the like names a host of its
# writer's choice, maybe a private one; where these stores are, this machine's own settings say.
STORES = ("file", "local", "memory", "s3", "s3a", "gs", "gcs")

UPRIGHT = "#upright"
_SLICE = re.compile(r"(.+)#bytes=(\d+)-(\d+)")
_CELL = re.compile(r"(.+)#column=(\w+)&row=(\d+)")
_TURNED = frozenset(range(5, 9))  # EXIF orientations that swap width and height


class ImageError(Exception):
    """An image cannot be used. `reason` is one of mmgic.schema.REASONS, `detail` says what was wrong."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def slice_path(archive: str, offset: int, length: int) -> str:
    """The name of the image file that lies in bytes [offset, offset + length) of `archive`."""
    return f"{archive}#bytes={offset}-{length}"


def cell_path(table: str, column: str, row: int) -> str:
    """The name of the image file that the Parquet file `table` holds in a cell; rows count from 0."""
    return f"{table}#column={column}&row={row}"


def read_image(path: str | Path, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The image at `path`, or in a slice of an archive, as RGB of 8 bits, pixels as stored.

    Without UPRIGHT an EXIF orientation is not applied, because most datasets' boxes count stored pixels. Of an
    animation the first frame is taken, transparency is left out, and 16-bit grey values keep their upper 8 bits.
    Raises ImageError (image_missing, image_too_large, image_undecodable).
    """
    with _reasons(str(path)), _open(str(path)) as file:
        return decode_image(file, str(path), max_pixels, str(path).endswith(UPRIGHT))


def read_bytes(path: str | Path, max_bytes: int = MAX_SLICE_BYTES) -> bytes:
    """The image file itself, whose header alone is decoded: that of an image, so no other file is given out.

    Raises ImageError (image_missing, image_too_large, image_undecodable).
    """
    with _reasons(str(path)), _open(str(path)) as file:
        content = file.read(max_bytes + 1)
        if len(content) > max_bytes:
            raise ImageError("image_too_large", f"{path}: more than {max_bytes:,} bytes")
        with Image.open(io.BytesIO(content), formats=DECODERS):
            return content


def stored_size(path: str | Path) -> tuple[int, int]:
    """Width and height in pixels of the image that `read_image` returns, from its header. Raises ImageError like it."""
    with _reasons(str(path)), _open(str(path)) as file, Image.open(file, formats=DECODERS) as image:
        turned = str(path).endswith(UPRIGHT) and image.getexif().get(ExifTags.Base.Orientation) in _TURNED
        return (image.height, image.width) if turned else image.size


def decode_image(file: IO[bytes], name: str, max_pixels: int = MAX_PIXELS, upright: bool = False) -> Image.Image:
    """The image in an open file, as `read_image` returns it. `name` is for the errors.

    `upright` turns it as its EXIF tag says. The header is read first: an image of more than `max_pixels` pixels is
    never decoded.
    Raises ImageError (image_too_large, image_undecodable).
    """
    with _reasons(name), Image.open(file, formats=DECODERS) as image:
        if image.width * image.height > max_pixels:
            raise ImageError("image_too_large", f"{image.width} x {image.height}: more than {max_pixels} pixels")
        if image.mode == "F":
            raise ImageError("image_undecodable", f"{name}: its pixels are floats, of which no range is known")
        return to_rgb(ImageOps.exif_transpose(image) if upright else image)


@contextmanager
def _reasons(name: str) -> Iterator[None]:
    """Turns whatever goes wrong with the image `name` into an ImageError."""
    try:
        yield
    except ImageError:
        raise
    except (FileNotFoundError, IsADirectoryError):
        raise ImageError("image_missing", name) from None
    except Image.DecompressionBombError as error:
        raise ImageError("image_too_large", str(error)) from None
    except UnidentifiedImageError:
        # its own message holds the address of an object, and a row must not depend on the run
        raise ImageError("image_undecodable", f"{name}: no image in a format that is read here") from None
    # Pillow's decoders answer hostile bytes with errors of many kinds (struct.error, SyntaxError, MemoryError, ...)
    except Exception as error:
        if isinstance(error, OSError) and of_the_machine(error):
            raise
        raise ImageError("image_undecodable", f"{name}: {type(error).__name__}: {error}") from error


def _open(path: str) -> IO[bytes]:
    """The file at `path`, the bytes of a slice in one ranged read, or those of a cell."""
    path = path.removesuffix(UPRIGHT)
    match = _SLICE.fullmatch(path) or _CELL.fullmatch(path)
    protocol, _ = split_protocol(match[1] if match else path)
    # of a url a::b is read by way of both
    if not is_local(path) and ((protocol or "file") not in STORES or "::" in path):
        raise ImageError("image_missing", f"{path}: images are read from local files and object stores alone")
    if match is None:
        return open_file(path)
    if match.re is _CELL:
        return io.BytesIO(_cell(match[1], match[2], int(match[3])))
    archive, offset, length = match[1], int(match[2]), int(match[3])
    if length > MAX_SLICE_BYTES:
        raise ImageError("image_too_large", f"{path}: a slice of more than {MAX_SLICE_BYTES} bytes")
    filesystem, inner = filesystem_of(archive)
    content = filesystem.cat_file(inner, start=offset, end=offset + length)
    if not length or len(content) != length:
        raise ImageError("image_undecodable", f"{path}: the slice is empty or reaches beyond the end of its file")
    return io.BytesIO(content)


def _cell(table: str, column: str, row: int) -> bytes:
    with open_file(table) as file, pq.ParquetFile(file) as parquet:
        if column not in parquet.schema_arrow.names:
            raise ImageError("image_missing", f"{table} has no column '{column}'")
        for group in range(parquet.metadata.num_row_groups):
            rows = parquet.metadata.row_group(group).num_rows
            if row < rows:
                content = _cells(table, column, group)[row].as_py()
                if content is None:
                    raise ImageError("image_missing", f"{table} holds no image in its row")
                return bytes(content)
            row -= rows
    raise ImageError("image_missing", f"{table} has fewer rows")


@lru_cache(maxsize=2)  # images are read in the order of their rows mostly, and a row group is decoded as a whole
def _cells(table: str, column: str, group: int) -> pa.ChunkedArray:
    with open_file(table) as file, pq.ParquetFile(file) as parquet:
        parts = parquet.metadata.row_group(group)
        chunks = (parts.column(i) for i in range(parts.num_columns))
        size = sum(c.total_uncompressed_size for c in chunks if c.path_in_schema.partition(".")[0] == column)
        if size > MAX_SLICE_BYTES:
            raise ImageError("image_too_large", f"{table}: a row group of more than {MAX_SLICE_BYTES} bytes")
        return parquet.read_row_group(group, columns=[column]).column(column)


def to_rgb(image: Image.Image) -> Image.Image:
    """Decodes; Pillow would clip 16-bit grey at 255 instead of scaling it."""
    if image.mode == "I" or image.mode.startswith("I;16"):
        values = np.asarray(image) >> 8  # in their own type, of 2 bytes mostly
        image = Image.fromarray(np.clip(values, 0, 255, out=values).astype(np.uint8))
    return image.convert("RGB")
