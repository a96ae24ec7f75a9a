"""Which images are fit by their size (F.2)."""

from __future__ import annotations

from mmgic.schema import AnnotatedImage, CaptionedImage
from mmgic.settings import CleaningSettings


def image_fault(row: AnnotatedImage | CaptionedImage, cleaning: CleaningSettings) -> str:
    """The reason for which the image itself is unfit, or ""."""
    width, height = row["width"], row["height"]
    if min(width, height) < max(1, cleaning.min_short_side):
        return "short_side"
    return "" if cleaning.min_aspect <= width / height <= cleaning.max_aspect else "aspect_ratio"
