"""The tokenize stage: images and region crops become visual codes (F.6, "pre-tokenize images and regions").

`load_frames` decodes, crops and resizes on CPU tasks. `TokenizeImages` holds the model and sends the frames of many
records through it in batches of one size. Rows are of three kinds: an image with its regions, a captioned image, and
INTERLEAVED rows of any number of images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from mmgic.devices import device_of
from mmgic.images import ImageError, read_image
from mmgic.regions import crop_region
from mmgic.schema import (
    CaptionedImage,
    ImageWithRegions,
    Interleaved,
    Region,
    RowImage,
    TokenizedImage,
    TokenizedPair,
    add_drops,
    reject,
)
from mmgic.settings import VisionSettings
from mmgic.sources.rows import without_images
from mmgic.vision.folders import load_tokenizer
from mmgic.vision.network.selector import record_noise
from mmgic.vision.preprocess import normalise, squash

MOST_FRAMES = 512  # of one row that are in memory at once: 77 MB at 224 pixels

Row = dict[str, Any]
Untokenized = ImageWithRegions | CaptionedImage | Interleaved
Tokenized = TokenizedImage | TokenizedPair | Interleaved
Failure = tuple[str, str]  # one of REASONS, and what was wrong


@dataclass(frozen=True)
class Frames:
    """The frames of one row: of an image first itself, then its regions; of an INTERLEAVED row, its images."""

    pixels: np.ndarray  # uint8 [frames that could be read, 3, S, S]
    failures: dict[int, Failure]  # frame -> why it could not be read

    @property
    def numbers(self) -> list[int]:
        """Which frame each row of `pixels` is."""
        return [i for i in range(len(self.pixels) + len(self.failures)) if i not in self.failures]


def load_frames(row: Row, size: int) -> Frames | None:
    """Decodes, crops and resizes the frames of one row to `size` pixels. Of an unreadable image no region is cut.

    None for a row of more than MOST_FRAMES frames: `TokenizeImages` reads these itself, a batch at a time.
    """
    if len(row.get("regions", ())) >= MOST_FRAMES:
        return None
    pixels, failures = [], {}
    images = row.get("images", [row])
    for number, image in enumerate(images):
        try:
            pixels += [squash(frame, size).numpy() for frame in read_frames(image)]
        except ImageError as error:
            failures[number] = (error.reason, error.detail)
    return Frames(np.stack(pixels) if pixels else np.empty((0, 3, size, size), np.uint8), failures)


def read_frames(row: Row) -> Iterator[Any]:
    """The image of `row`, then the crops of its regions, if it has any. Raises ImageError."""
    image = read_image(row["image_path"])
    # a source that gives no sizes has width 0
    if row.get("width") and image.size != (row["width"], row["height"]):
        detail = f"{image.width} x {image.height} decoded, {row['width']} x {row['height']} annotated"
        if image.size == (row["height"], row["width"]):
            detail += "; if an EXIF tag turns it, set 'upright' of its source"
        raise ImageError("size_mismatch", detail)
    yield image
    for region in row.get("regions", ()):
        yield crop_region(image, region["x"], region["y"], region["side"])


class TokenizeImages:
    """Callable over batches of rows; holds the tokenizer, so one instance serves a whole worker.

    Every forward pass has `vision.batch_size` frames, the last one of a call padded, and each frame draws its noise
    from a generator of its own. A record's codes therefore do not depend on the records beside it.
    """

    def __init__(self, checkpoint: str, settings: VisionSettings, seed: int, gpus: float = 0) -> None:
        self.settings = settings
        self.seed = seed
        self.device = device_of(gpus)
        self.model = load_tokenizer(checkpoint, settings.dtype).to(self.device)
        if settings.compile:
            self.model.compile_trunk()

    def __call__(self, rows: Sequence[Untokenized]) -> list[Untokenized | Tokenized]:
        """Rows, kept or not, -> as many with their codes; a row whose images cannot be used is set aside.

        Frames are those that a row brings as `prepared`, or else are loaded here.
        """
        given: list[Row] = [dict(row) for row in rows]
        size = self.model.config.image_size
        # a row that was set aside before has no frames
        nothing = Frames(np.empty((0, 3, size, size), np.uint8), {})
        ready = [row.pop("prepared", None) or (load_frames(row, size) if row["keep"] else nothing) for row in given]
        many = {i: self._encode_many(row) for i, row in enumerate(given) if ready[i] is None}
        loaded = [frames or nothing for frames in ready]
        noise = [
            self.noise(row["source"], row["image_id"], number)
            for row, frames in zip(given, loaded, strict=True)
            for number in frames.numbers
        ]
        codes = iter(self.encode_frames(torch.from_numpy(np.concatenate([f.pixels for f in loaded])), noise))
        found = [({number: next(codes) for number in frames.numbers}, frames.failures) for frames in loaded]
        return [
            with_codes(cast(Untokenized, row), *many.get(i, found[i])) if row["keep"] else cast(Untokenized, row)
            for i, row in enumerate(given)
        ]

    def _encode_many(self, row: Row) -> tuple[dict[int, list[int]], dict[int, Failure]]:
        """The codes of each frame of a row of many regions, or why there are none."""
        codes: list[list[int]] = []
        try:
            frames = iter(read_frames(row))
            while some := list(islice(frames, self.settings.batch_size)):
                pixels = torch.stack([squash(frame, self.model.config.image_size) for frame in some])
                noise = [self.noise(row["source"], row["image_id"], len(codes) + i) for i in range(len(some))]
                codes += self.encode_frames(pixels, noise)
        except ImageError as error:
            return {}, {0: (error.reason, error.detail)}
        return dict(enumerate(codes)), {}

    def encode(self, pixels: Tensor, source: str, record_id: str) -> list[list[int]]:
        """Codes of all frames, uint8 [F, 3, S, S], of one record."""
        return self.encode_frames(pixels, [self.noise(source, record_id, frame) for frame in range(len(pixels))])

    def encode_frames(self, pixels: Tensor, noise: Sequence[Tensor]) -> list[list[int]]:
        """Codes of each frame: uint8 [F, 3, S, S] and F draws of `noise` [patches, 2]."""
        codes: list[list[int]] = []
        size = self.settings.batch_size
        for start in range(0, len(pixels), size):
            frames = pixels[start : start + size]
            batch = torch.zeros(size, *frames.shape[1:], dtype=torch.uint8)
            batch[: len(frames)] = frames
            drawn = torch.zeros(size, self.model.config.patches, 2)
            drawn[len(frames) :, :, 1] = 1e4  # nothing of the padding is kept
            drawn[: len(frames)] = torch.stack(list(noise[start : start + size]))
            found = self.model.encode(normalise(batch.to(self.device)), noise=drawn.to(self.device))
            codes += [frame_codes.tolist() for frame_codes in found[: len(frames)]]
        return codes

    def noise(self, source: str, record_id: str, frame: int) -> Tensor:
        """Noise [patches, 2] of one frame (0: the image, i + 1: region i) of one record: Gumbel, or none for argmax."""
        if self.settings.selection == "argmax":
            return torch.zeros(self.model.config.patches, 2)
        return record_noise(self.seed, source, record_id, frame, self.model.config.patches)


def with_codes(row: Untokenized, codes: dict[int, list[int]], failures: dict[int, Failure]) -> Tokenized:
    """`row` with the `codes` of its frames; a frame may have none, and those of `failures` are not there."""
    failures = failures | {
        number: ("no_visual_tokens", f"the selector kept no patch of image {number}")
        for number, found in codes.items()
        if not found
    }
    if "images" in row:
        images: list[RowImage] = [{**image, "codes": codes.get(i, [])} for i, image in enumerate(row["images"])]
        return without_images({**row, "images": images}, failures)
    return _image_with_codes(row, codes, failures) if "regions" in row else _pair_with_codes(row, codes, failures)


def _pair_with_codes(row: CaptionedImage, codes: dict[int, list[int]], failures: dict[int, Failure]) -> TokenizedPair:
    if 0 in failures:
        return {**row, "codes": [], **reject(*failures[0])}
    return {**row, "codes": codes[0]}


def _image_with_codes(
    row: ImageWithRegions, codes: dict[int, list[int]], failures: dict[int, Failure]
) -> TokenizedImage:
    if 0 in failures:
        return {**row, "codes": [], **reject(*failures[0])}
    kept: list[Region] = [
        {**region, "codes": codes[i]} for i, region in enumerate(row["regions"], 1) if i not in failures
    ]
    drops = add_drops(row["drops"], ["region_no_visual_tokens"] * (len(row["regions"]) - len(kept)))
    return {**row, "codes": codes[0], "regions": kept, "drops": drops}
