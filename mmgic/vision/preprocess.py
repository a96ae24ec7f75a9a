"""From an image to the pixels that the encoder takes."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def preprocess(image: Image.Image, size: int) -> Tensor:
    """An RGB image -> float32 [3, size, size], squashed by PIL's bicubic filter and normalised as CLIP's."""
    return normalise(squash(image, size))


def squash(image: Image.Image, size: int) -> Tensor:
    """An RGB image -> uint8 [3, size, size], its aspect ratio given up."""
    return torch.from_numpy(np.array(image.resize((size, size), Image.Resampling.BICUBIC))).permute(2, 0, 1)


def normalise(pixels: Tensor) -> Tensor:
    """uint8 [..., 3, H, W] -> float32 of the same shape, by CLIP's mean and deviation of each channel."""
    mean, std = (torch.tensor(channel, device=pixels.device)[:, None, None] for channel in (CLIP_MEAN, CLIP_STD))
    return (pixels.float() / 255 - mean) / std
