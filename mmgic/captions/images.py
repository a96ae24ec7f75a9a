"""From an image file to the pixels that both models take: what CPU tasks do ahead of the models."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmgic.captions.clip import clip_processor
from mmgic.images import ImageError, read_image
from mmgic.model.pretrained import image_processor
from mmgic.schema import Verdict, reject
from mmgic.settings import CaptionSettings

MAX_ASPECT = 20  # CLIP scales by the shorter side and crops then: a strip would grow to gigabytes in between


@dataclass(frozen=True)
class Pixels:
    """One image at each model's size and crop, not normalised yet: a quarter of the bytes to hand on."""

    blip2: np.ndarray  # uint8 [3, S, S]
    clip: np.ndarray  # uint8 [3, S', S']


@dataclass(frozen=True)
class ReadImage:
    """A stage's `prepare`: a row -> its Pixels, or the verdict that sets it aside, or None if it gets no caption."""

    settings: CaptionSettings
    column: str  # that holds the caption
    anew: Collection[str] = ()  # sources whose images get a caption whatever they have
    never: Collection[str] = ()  # sources whose images get none

    def __call__(self, row: Mapping[str, Any]) -> Pixels | Verdict | None:
        if row["source"] in self.never or (row[self.column] and row["source"] not in self.anew):
            return None
        try:
            image = read_image(row["image_path"])
        except ImageError as error:
            return reject(error.reason, error.detail)
        if max(image.size) > MAX_ASPECT * min(image.size):
            return reject("aspect_ratio", f"{image.width} x {image.height}: more than {MAX_ASPECT} to 1")
        processors = (image_processor(self.settings.blip2, "captions.blip2"), clip_processor(self.settings.clip))
        views = (process(image, do_rescale=False, do_normalize=False, return_tensors="np") for process in processors)
        return Pixels(*(view["pixel_values"][0] for view in views))


def normalised(pixels: np.ndarray, processor: Any, device: torch.device) -> Tensor:
    """uint8 [N, 3, S, S] that `ReadImage` made -> what the model takes, float32 of the same shape on `device`."""
    inputs = torch.from_numpy(pixels).to(device)
    ready = processor(inputs, do_resize=False, do_center_crop=False, do_convert_rgb=False, return_tensors="pt")
    return ready["pixel_values"]
