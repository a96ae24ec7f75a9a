"""Visual codes of a benchmark's images, and the control that swaps them."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Collection, Iterable
from pathlib import Path

import torch

from mmgic.errors import InputError
from mmgic.evaluation.benchmark import image_name
from mmgic.images import ImageError, decode_image, read_image
from mmgic.settings import VisionSettings
from mmgic.sources.reading.files import is_safe_name
from mmgic.stages.progress import counted
from mmgic.vision.preprocess import squash
from mmgic.vision.tokenize import TokenizeImages

SOURCE = "coco-val"  # names the generator of each image's selection noise, beside its file name


class ImageCodes:
    """Visual codes of images, each tokenized once, exactly as the tokenize stage does it."""

    def __init__(self, settings: VisionSettings, seed: int, gpus: float = 0) -> None:
        self._tokenize = TokenizeImages(settings.checkpoint, settings, seed, gpus)
        self._codes: dict[tuple[str, str], list[int]] = {}

    def __call__(self, folder: str, images: Iterable[str | bytes]) -> dict[str, list[int]]:
        """The codes by name of `images`, which are names of files in `folder` or image files themselves.

        Raises InputError for an image that cannot be used: a benchmark without some of its images is another benchmark,
        so none is left out.
        """
        by_name = {image_name(image): image for image in images}
        missing = [name for name in by_name if (folder, name) not in self._codes]
        size = self._tokenize.settings.batch_size
        with counted("visual codes", len(missing), "images") as advance:
            for start in range(0, len(missing), size):
                batch = missing[start : start + size]
                pixels = torch.stack([self._pixels(folder, by_name[name]) for name in batch])
                codes = self._tokenize.encode_frames(pixels, [self._tokenize.noise(SOURCE, name, 0) for name in batch])
                self._codes |= {(folder, name): found for name, found in zip(batch, codes, strict=True)}
                advance(len(batch))
        return {name: self._codes[folder, name] for name in by_name}

    def _pixels(self, folder: str, image: str | bytes) -> torch.Tensor:
        name = image_name(image)
        if isinstance(image, str) and not is_safe_name(image):
            raise InputError(f"the image name {name!r} leads out of the image folder; use plain file names")
        try:
            if isinstance(image, str):
                pixels = read_image(Path(folder) / image)
            else:
                pixels = decode_image(io.BytesIO(image), name)
        except ImageError as error:
            place = f"{name} in {folder}" if isinstance(image, str) else f"{name} inside its files"
            raise InputError(f"the benchmark's image {place} cannot be used ({error}); check the files") from None
        return squash(pixels, self._tokenize.model.config.image_size)


def other_images(names: Collection[str]) -> dict[str, str]:
    """For each image another one, no two the same: the control that shows what a model says without seeing its image.

    A rotation of the names in the order of their hashes, so it depends on nothing but the set of names.
    Raises InputError if there is one image alone.
    """
    order = sorted(names, key=lambda name: hashlib.blake2b(name.encode()).digest())
    if len(order) < 2:
        raise InputError("the other-image control needs at least two images; raise evaluation.max_images")
    return dict(zip(order, order[1:] + order[:1], strict=True))
