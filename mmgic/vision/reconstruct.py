"""What is left of a picture in its codes: which patches were kept, and what the codes alone draw."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmgic.errors import InputError
from mmgic.vision.network.selector import Selection, record_noise
from mmgic.vision.network.tokenizer import VisualTokenizer
from mmgic.vision.pixels.pixel_decoder import PixelDecoder
from mmgic.vision.preprocess import preprocess

DROPPED = (238, 238, 240)  # how a dropped patch is painted


@dataclass(frozen=True)
class Tokens:
    """An image as the tokenizer sees it."""

    codes: list[int]
    kept: np.ndarray  # bool [grid, grid]; True if a patch has a code


@dataclass(frozen=True)
class Reconstruction:
    tokens: Tokens
    original: Image.Image  # the frame, squashed as the tokenizer sees it
    picture: Image.Image  # drawn from the codes alone


def tokenize_image(
    image: Image.Image,
    tokenizer: VisualTokenizer,
    *,
    selection: Selection = "gumbel",
    seed: int = 0,
    source: str = "",
    name: str = "",
) -> Tokens:
    """Codes and kept patches of an RGB image of any size.

    The selector's noise belongs to `seed`, `source` and `name` alone, and is that of the tokenize stage for an image
    `name` of a `source`.
    """
    pixels = preprocess(image, tokenizer.config.image_size)[None].to(next(tokenizer.parameters()).device)
    noise = None
    if selection == "gumbel":
        noise = record_noise(seed, source, name, 0, tokenizer.config.patches)[None].to(pixels.device)
    with torch.inference_mode():
        features = tokenizer.patch_features(pixels)
        kept = tokenizer.token_predictor.select(features, selection=selection, noise=noise, policy=None, generator=None)
    codes = tokenizer.codes(features, kept)[0].tolist()
    grid = tokenizer.config.grid
    return Tokens(codes, kept[0].view(grid, grid).cpu().numpy())


def reconstruct(
    image: Image.Image,
    tokenizer: VisualTokenizer,
    pixels: PixelDecoder,
    *,
    selection: Selection = "gumbel",
    size: tuple[int, int] | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    seed: int = 0,
    source: str = "",
    name: str = "",
    codes: list[int] | None = None,
) -> Reconstruction:
    """An RGB image -> its tokens and the picture of `size` (height, width) that they draw.

    `codes` are those that an image of the data has already; they are shown instead of the ones made here, which near
    ties may tell apart on another device. Raises InputError if the pixel decoder was trained for the codes of
    another tokenizer.
    """
    check_codebook(tokenizer.quantize.embedding.weight, pixels)
    tokens = tokenize_image(image, tokenizer, selection=selection, seed=seed, source=source, name=name)
    if codes is not None:
        tokens = replace(tokens, codes=codes)
    picture = pixels.detokenize([tokens.codes], size=size, steps=steps, guidance=guidance, seed=seed, names=[name])[0]
    edge = tokenizer.config.image_size
    return Reconstruction(tokens, image.resize((edge, edge), Image.Resampling.BICUBIC), picture)


def check_codebook(rows: Tensor, pixels: PixelDecoder) -> None:
    """Raises InputError if `rows` [codes, dim] are not those that the pixel decoder reads."""
    own = pixels.codebook.float().cpu()
    if rows.shape != own.shape or not torch.allclose(rows.detach().float().cpu(), own, atol=1e-2):
        raise InputError("the pixel decoder was trained for another visual tokenizer's codes; give the two together")


def show_kept(image: Image.Image, kept: np.ndarray) -> Image.Image:
    """`image` with every patch that `kept` bool [grid, grid] leaves out painted over."""
    mask = Image.fromarray(np.where(kept, 255, 0).astype(np.uint8)).resize(image.size, Image.Resampling.NEAREST)
    return Image.composite(image, Image.new("RGB", image.size, DROPPED), mask)


def panel(result: Reconstruction, edge: int = 256, gap: int = 8) -> Image.Image:
    """Original, kept patches and reconstruction side by side, each in a square of `edge` pixels."""
    frame = result.original.resize((edge, edge), Image.Resampling.BICUBIC)
    drawn = result.picture.resize((edge, edge), Image.Resampling.BICUBIC)
    canvas = Image.new("RGB", (3 * edge + 2 * gap, edge), "white")
    for position, part in enumerate((frame, show_kept(frame, result.tokens.kept), drawn)):
        canvas.paste(part, (position * (edge + gap), 0))
    return canvas


def sheet(results: Sequence[Reconstruction], edge: int = 192, gap: int = 8) -> Image.Image:
    """Panels one below the other."""
    panels = [panel(result, edge, gap) for result in results]
    canvas = Image.new("RGB", (panels[0].width, len(panels) * (edge + gap) - gap), "white")
    for row, part in enumerate(panels):
        canvas.paste(part, (0, row * (edge + gap)))
    return canvas


def png(image: Image.Image) -> bytes:
    """`image` as the bytes of a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def data_uri(image: Image.Image) -> str:
    """`image` as the `src` of an HTML img element, without a file beside it."""
    return "data:image/png;base64," + base64.b64encode(png(image)).decode()
