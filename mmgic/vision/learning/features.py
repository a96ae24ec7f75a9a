"""What tokenizer training reads: any folder or table of images, as patch features of the frozen encoder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow.compute as pc
import torch
from torch import Tensor

from mmgic.errors import InputError
from mmgic.files import is_hidden
from mmgic.images import ImageError, read_image
from mmgic.pipelines.places import places_near
from mmgic.stages import tables
from mmgic.vision.network.encoder import Encoder
from mmgic.vision.preprocess import normalise, squash

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")
_MOST_BAD = 100  # unreadable images in a row, after which the data are to blame
_ENCODED_AT_ONCE = 64


def list_images(source: str) -> list[str]:
    """The image paths of `source`: the kept rows of a finished stage's table, else the image files of a folder at any
    depth. Their order is that of their names' hashes, so that any part is a sample. Raises InputError if there are
    none."""
    return list(_named_images(source))


def _named_images(source: str) -> dict[str, str]:
    """The path of each image and its name, which stays as it is if `source` or the images are moved."""
    folder = Path(source)
    if tables.find_table(source) is not None:
        table, places = tables.open_table(source), places_near(source)
        if "image_path" not in table.schema.names:
            raise InputError(f"the table {source} has no column image_path; choose a stage that names an image a row")
        rows = table.to_table(columns=["source", "image_path"], filter=pc.field("keep")).to_pylist()
        names = {places.whole_path(row["image_path"], row["source"]): row["image_path"] for row in rows}
        names.pop("", None)
    else:
        files = (str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        names = {str(folder / name): f"/{name}" for name in files if not is_hidden(name)}
    if not names:
        raise InputError(f"{source} holds no images; name a folder of {', '.join(SUFFIXES)} files or a finished table")
    ordered = sorted(names, key=lambda path: hashlib.blake2b(names[path].encode()).digest())
    return {path: names[path] for path in ordered}


def fingerprint_of_images(source: str) -> str:
    """What tells the images of `source` from others, wherever it lies: their number and names."""
    names = _named_images(source).values()
    return f"{len(names)}, {hashlib.blake2b(chr(0).join(names).encode(), digest_size=8).hexdigest()}"


class Features(Protocol):
    def __len__(self) -> int: ...

    def load(self, indices: Sequence[int]) -> Tensor:
        """What can be made of images without the device: in the thread that reads ahead."""

    def encode(self, loaded: Tensor) -> Tensor:
        """Patch features float32 [B, N, width] of what `load` returned, on the device."""


class EncodedImages:
    """Images decoded as they are needed and sent through the frozen encoder at every step.

    In place of an image that cannot be read comes the next one that can.
    """

    def __init__(self, paths: Sequence[str], encoder: Encoder, size: int, half: bool, threads: int = 4) -> None:
        self.paths = paths
        self.encoder = encoder
        self.size = size
        self.half = half
        self.pool = ThreadPoolExecutor(threads)

    def __len__(self) -> int:
        return len(self.paths)

    def load(self, indices: Sequence[int]) -> Tensor:
        """uint8 [B, 3, S, S]."""
        frames = self.pool.map(lambda index: read_frame(self.paths, index, (self.size,))[0], indices)
        return torch.stack(list(frames))

    @torch.no_grad()
    def encode(self, loaded: Tensor) -> Tensor:
        pixels = normalise(loaded.to(self.encoder.cls_token.device, non_blocking=True))
        with torch.autocast(pixels.device.type, torch.bfloat16, enabled=self.half):
            return self.encoder(pixels)[:, 1:].float()


def read_frame(paths: Sequence[str], index: int, sizes: Sequence[int]) -> tuple[Tensor, ...]:
    """The image at `index`, or the next one that can be read, uint8 [3, size, size] in each of `sizes`.

    Raises InputError if none of many can be read.
    """
    for ahead in range(_MOST_BAD):
        try:
            image = read_image(paths[(index + ahead) % len(paths)])
            return tuple(squash(image, size) for size in sizes)
        except ImageError as error:
            problem = error
    raise InputError(f"{_MOST_BAD} images from {paths[index]} on cannot be read ({problem}); check the data")


class CachedFeatures:
    """Features that were made once, float16 [images, N, width], of `part` of the images in a file that is mapped into
    memory."""

    def __init__(self, path: Path, part: slice, device: torch.device) -> None:
        self.array = np.load(path, mmap_mode="r")[part]
        self.device = device

    def __len__(self) -> int:
        return len(self.array)

    def load(self, indices: Sequence[int]) -> Tensor:
        return torch.from_numpy(np.stack([self.array[index] for index in indices]))

    def encode(self, loaded: Tensor) -> Tensor:
        return loaded.to(self.device).float()


def cache_features(
    images: EncodedImages, path: Path, rank: int = 0, workers: int = 1, barrier: Callable[[], object] = lambda: None
) -> None:
    """Writes this worker's share of the features of all `images` into `path`, a file that worker 0 makes. `barrier`
    waits for the other workers, so that the file is complete when this returns.

    Raises InputError for a feature beyond float16.
    """
    size = images.encoder.pos_embed.shape[1] - 1, images.encoder.pos_embed.shape[2]
    if rank == 0:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.lib.format.open_memmap(path, "w+", np.float16, (len(images), *size)).flush()
    barrier()
    array = np.lib.format.open_memmap(path, "r+")
    starts = range(rank * _ENCODED_AT_ONCE, len(images), workers * _ENCODED_AT_ONCE)
    for start in starts:
        chunk = range(start, min(start + _ENCODED_AT_ONCE, len(images)))
        features = images.encode(images.load(chunk)).half()
        if not features.isfinite().all():
            raise InputError(f"features from {images.paths[start]} on are beyond float16; train without a cache")
        array[chunk.start : chunk.stop] = features.cpu().numpy()
    array.flush()
    barrier()
