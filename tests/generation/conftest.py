"""The small pixel decoders of the vision tests."""

from ..vision.conftest import tiny_pixels

__all__ = ["tiny_pixels"]
