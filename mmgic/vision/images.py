"""Reading images of any origin as RGB, with a reason where that fails."""

from __future__ import annotations

from pathlib import Path

import fsspec
import numpy as np
from PIL import Image

MAX_PIXELS = 89_478_485  # where Pillow starts to suspect a decompression bomb; 268 MB decoded


class ImageError(Exception):
    """An image cannot be used. `reason` is one of mmgic.schema.REASONS, `detail` says what was wrong."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def read_image(path: str | Path, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The image at a local or fsspec `path` as RGB of 8 bits, pixels as stored.

    An EXIF orientation is not applied, because the datasets' boxes count stored pixels. Of an animation the first frame
    is taken, transparency is left out, and 16-bit grey values keep their upper 8 bits.
    Raises ImageError (image_missing, image_too_large, image_undecodable).
    """
    try:
        with fsspec.open(str(path), "rb") as file, Image.open(file) as image:
            if image.width * image.height > max_pixels:
                raise ImageError("image_too_large", f"{image.width} x {image.height}: more than {max_pixels} pixels")
            return to_rgb(image)
    except FileNotFoundError:
        raise ImageError("image_missing", str(path)) from None
    except Image.DecompressionBombError as error:
        raise ImageError("image_too_large", str(error)) from None
    except ImageError:
        raise
    # Pillow's decoders answer hostile bytes with errors of many kinds (struct.error, SyntaxError, IndexError, ...)
    except Exception as error:
        raise ImageError("image_undecodable", f"{path}: {type(error).__name__}: {error}") from error


def to_rgb(image: Image.Image) -> Image.Image:
    """Decodes; Pillow would clip 16-bit grey at 255 instead of scaling it."""
    if image.mode == "I" or image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    return image.convert("RGB")
