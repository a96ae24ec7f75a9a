"""A tokenizer under the file and key names of LaVIT's release, for programs that read those."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from mmgic.errors import InputError
from mmgic.vision.folders import DECODER_FILES, LAVIT_FILES, load_tokenizer, read_weights, save_config
from mmgic.vision.learning.frozen import load_frozen

HEAD_DIM = 1024  # of EVA-CLIP's embedding


def save_lavit(tokenizer: Path, folder: Path, encoder: Path | None = None, pixels: Path | None = None) -> list[str]:
    """Writes the tokenizer folder `tokenizer` as LaVIT's `visual_tokenizer/`, all names that LaVIT's strict loading
    wants, and a config.json, with which `load_tokenizer` reads it back at any size.

    `encoder` is the folder of the frozen encoder, whose classifier end comes along (LaVIT loads it and never reads it;
    zeros serve if there is none). The feature decoder is that of the pixel decoder's folder `pixels`: its projection
    is trained with a UNet. Returns what is left out. Raises InputError if a folder is incomplete, or `pixels` reads
    another codebook.
    """
    model = load_tokenizer(tokenizer)
    files = lavit_tensors(model.state_dict())
    end = load_frozen(encoder).head if encoder else None
    if end is not None:
        files[LAVIT_FILES[0]] |= end.state_dict()
    if pixels:
        weights = read_weights(pixels / "decoder.safetensors")
        if "codebook" not in weights or not torch.equal(weights["codebook"].float(), model.quantize.embedding.weight):
            raise InputError(f"the pixel decoder {pixels} reads another codebook than that of {tokenizer}")
        decoder = {k.removeprefix("decoder."): v for k, v in weights.items() if k.startswith("decoder.")}
        files[DECODER_FILES["unet_proj_1.weight" in decoder]] = decoder
    save_config(model.config, folder)
    for name, tensors in files.items():
        torch.save({key: value.contiguous() for key, value in tensors.items()}, folder / name)
    return [
        f"{name} is left out: its projection to a UNet is part of a trained pixel decoder"
        for name in DECODER_FILES
        if name not in files
    ]


def lavit_tensors(state: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """A tokenizer's weights by LaVIT's files: the encoder, bare and with a neutral classifier end, and the rest."""
    encoder = {key.removeprefix("encoder."): value for key, value in state.items() if key.startswith("encoder.")}
    width = encoder["cls_token"].shape[-1]
    encoder["norm.weight"], encoder["norm.bias"] = torch.ones(width), torch.zeros(width)
    encoder["head.weight"], encoder["head.bias"] = torch.zeros(HEAD_DIM, width), torch.zeros(HEAD_DIM)
    rest = {key: value for key, value in state.items() if not key.startswith("encoder.")}
    return dict(zip(LAVIT_FILES, (encoder, rest), strict=True))
