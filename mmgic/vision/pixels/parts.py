"""The parts of a pixel decoder's folder, checked to fit each other before anything is drawn with them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.utils import logging
from torch import Tensor

from mmgic.errors import InputError
from mmgic.vision.network.tokenizer import listing

if TYPE_CHECKING:
    from mmgic.vision.pixels.pixel_decoder import PixelConfig


def load_part(kind: Any, folder: Path, dtype: torch.dtype) -> Any:
    """One of diffusers' models with exactly the weights that its config asks for; diffusers itself would draw missing
    ones at random and go on. Raises InputError."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # its warning about the weights is our error
    try:
        model, found = kind.from_pretrained(
            folder, use_safetensors=True, local_files_only=True, torch_dtype=dtype, output_loading_info=True
        )
    except Exception as error:  # diffusers checks its configs in many ways
        raise InputError(f"{folder} is incomplete or of other sizes than its config says; import it again") from error
    finally:
        logging.set_verbosity(verbosity)
    for wrong, names in (("lacks", found["missing_keys"]), ("has no place for", found["unexpected_keys"])):
        if names:
            raise InputError(f"{folder} {wrong} {listing(sorted(names))}; import it again")
    return model


def misfits(
    config: PixelConfig, codebook: Tensor, uncond: Tensor | None, unet: UNet2DConditionModel, vae: AutoencoderKL
) -> Iterator[str]:
    """What of a pixel decoder does not fit the rest of it."""
    decoder = config.decoder
    if codebook.ndim != 2 or codebook.shape[1] != decoder.codebook_dim or not codebook.is_floating_point():
        yield f"its codebook is {shown(codebook)} instead of floats [codes, {decoder.codebook_dim}]"
    if not decoder.pooled_dim:
        if uncond is None:
            yield "it lacks uncond_embeddings, which the low resolution needs"
        elif not (
            uncond.ndim == 3
            and (len(uncond), uncond.shape[2]) == (1, decoder.prompt_dim)
            and 1 <= uncond.shape[1] <= decoder.patches
            and uncond.is_floating_point()
        ):
            wanted = f"floats [1, 1 to {decoder.patches}, {decoder.prompt_dim}]"
            yield f"its uncond_embeddings are {shown(uncond)} instead of {wanted}"
    wanted_of_unet = {
        "cross_attention_dim": decoder.prompt_dim + decoder.pooled_dim,
        "in_channels": vae.config.latent_channels,
        "out_channels": vae.config.latent_channels,
        "addition_embed_type": "text_time" if decoder.pooled_dim else None,
    }
    if decoder.pooled_dim:
        times = unet.config.addition_time_embed_dim or 0
        wanted_of_unet["projection_class_embeddings_input_dim"] = decoder.pooled_dim + 6 * times
    for name, wanted in wanted_of_unet.items():
        if unet.config[name] != wanted:
            yield f"its UNet's {name} is {unet.config[name]!r} instead of {wanted!r}"
    scale = latent_scale(vae)
    for height, width in config.sizes:
        if height % scale or width % scale:
            yield f"its size {height}x{width} is no multiple of {scale}, the pixels along a latent's edge"


def latent_scale(vae: AutoencoderKL) -> int:
    """Pixels along the edge of one latent."""
    scale: int = 2 ** (len(vae.config.block_out_channels) - 1)
    return scale


def shown(tensor: Tensor) -> str:
    return f"{tensor.dtype} {list(tensor.shape)}".removeprefix("torch.")
