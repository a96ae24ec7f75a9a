"""The tokenize stage: an image and its region crops become visual codes (F.6, "pre-tokenize images and regions")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmgic.regions import crop_region
from mmgic.schema import add_drops, record_generator, reject
from mmgic.settings import VisionSettings
from mmgic.vision.checkpoint import load_tokenizer
from mmgic.vision.images import ImageError, read_image
from mmgic.vision.preprocess import preprocess

Row = dict[str, Any]


class TokenizeImages:
    """Callable over batches of IMAGE_WITH_REGIONS rows; holds the tokenizer, so one instance serves a whole worker.

    Each record runs through the model on its own and draws its noise from its own generators. A record's codes
    therefore do not depend on the records beside it, not even through the rounding of a product of another size.
    """

    def __init__(self, checkpoint: str, settings: VisionSettings, seed: int) -> None:
        self.settings = settings
        self.seed = seed
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = load_tokenizer(checkpoint, settings.dtype).to(self.device)

    def __call__(self, rows: Sequence[Row]) -> list[Row]:
        """IMAGE_WITH_REGIONS rows -> as many TOKENIZED_IMAGE rows; a row whose image cannot be used is set aside."""
        return [self.tokenize(row) if row["keep"] else {**row, "codes": []} for row in rows]

    def tokenize(self, row: Row) -> Row:
        """One kept row with the codes of its image and regions; regions without any code are dropped and counted.

        Of an INTERLEAVED row, all images get their codes, or the row is set aside.
        """
        if "images" in row:
            return self.tokenize_interleaved(row)
        try:
            image = read_image(row["image_path"])
        except ImageError as error:
            return {**row, "codes": [], **reject(error.reason, error.detail)}
        # a source that gives no sizes has width 0
        if row["width"] and image.size != (row["width"], row["height"]):
            detail = f"{image.width} x {image.height} decoded, {row['width']} x {row['height']} annotated"
            return {**row, "codes": [], **reject("size_mismatch", detail)}

        regions = row["regions"]
        frames = [image, *(crop_region(image, region["x"], region["y"], region["side"]) for region in regions)]
        pixels = torch.stack([preprocess(frame, self.model.config.image_size) for frame in frames])
        codes, *region_codes = self.encode(pixels, row["source"], row["image_id"])
        if not codes:
            return {**row, "codes": [], **reject("no_visual_tokens", "the selector kept no patch of the image")}
        kept = [{**region, "codes": c} for region, c in zip(regions, region_codes, strict=True) if c]
        drops = add_drops(row["drops"], ["region_no_visual_tokens"] * (len(regions) - len(kept)))
        return {**row, "codes": codes, "regions": kept, "drops": drops}

    def tokenize_interleaved(self, row: Row) -> Row:
        """One kept INTERLEAVED row with the codes of its images."""
        if not row["images"]:
            return row
        try:
            frames = [read_image(image["image_path"]) for image in row["images"]]
        except ImageError as error:
            return {**row, **reject(error.reason, error.detail)}
        pixels = torch.stack([preprocess(frame, self.model.config.image_size) for frame in frames])
        codes = self.encode(pixels, row["source"], row["image_id"])
        if not all(codes):
            return {**row, **reject("no_visual_tokens", "the selector kept no patch of an image")}
        return {**row, "images": [{**image, "codes": c} for image, c in zip(row["images"], codes, strict=True)]}

    def encode(self, pixels: Tensor, source: str, image_id: str) -> list[list[int]]:
        """Codes of the frames of one record: the image first, then its regions."""
        noise = None
        if self.settings.selection == "gumbel":
            noise = torch.stack([self.noise(source, image_id, frame) for frame in range(len(pixels))]).to(self.device)
        codes = []
        for start in range(0, len(pixels), self.settings.batch_size):
            chunk = slice(start, start + self.settings.batch_size)
            codes += self.model.encode(
                pixels[chunk].to(self.device),
                selection=self.settings.selection,
                noise=None if noise is None else noise[chunk],
            )
        return [frame_codes.tolist() for frame_codes in codes]

    def noise(self, source: str, image_id: str, frame: int) -> Tensor:
        """Gumbel noise [patches, 2] of one frame (0: the image, i + 1: region i) of one record."""
        generator = record_generator(self.seed, "tokenize", source, image_id, frame)
        exponential = generator.standard_exponential((self.model.config.patches, 2), dtype=np.float32)
        # zero is a possible draw; the tiniest float keeps its logarithm finite
        return -torch.from_numpy(exponential).clamp(min=torch.finfo(torch.float32).tiny).log()
