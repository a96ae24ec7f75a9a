"""The images of image-caption pairs: fetched if they are not at hand, and held to the rules of cleaning (F.2)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from mmgic.cleaning.images import image_fault
from mmgic.download import DownloadImages
from mmgic.images import ImageError, stored_size
from mmgic.schema import CaptionedImage, reject
from mmgic.settings import CleaningSettings
from mmgic.stages.rows import EachRow, Row


@dataclass(frozen=True)
class PairImages:
    """A transform of CAPTIONED_IMAGE rows: those that stay kept have an image of a known and suitable size."""

    download: DownloadImages
    cleaning: CleaningSettings | None  # None: any size is suitable

    def __call__(self, rows: list[CaptionedImage]) -> list[CaptionedImage | Row]:
        return EachRow(partial(check_image, cleaning=self.cleaning))(self.download(rows))


def check_image(row: CaptionedImage, cleaning: CleaningSettings | None) -> CaptionedImage:
    """The row with its image's size, read from the file's header where the source gave none; set aside if unfit."""
    if not row["keep"]:
        return row
    if not row["width"]:
        try:
            width, height = stored_size(row["image_path"])
        except ImageError as error:
            return {**row, **reject(error.reason, error.detail)}
        row = {**row, "width": width, "height": height}
    fault = image_fault(row, cleaning) if cleaning else ""
    return {**row, **reject(fault, f"{row['width']} x {row['height']} pixels")} if fault else row
