"""A tokenizer under the file and key names of LaVIT's release, for programs that read those."""

from __future__ import annotations

from pathlib import Path

import torch

from mmgic.vision.checkpoint import LAVIT_FILES, load_tokenizer, read_weights

DECODER_FILE = "tokenizer_decoder.bin"


def save_lavit(tokenizer: Path, folder: Path) -> None:
    """Writes the tokenizer folder `tokenizer` as LaVIT's `visual_tokenizer/`: the encoder under bare keys, the rest in
    a file of its own, and the feature decoder where there is one (the projection to a UNet comes with the UNet).

    EVA-CLIP's classifier end, which LaVIT never reads, is not written. Raises InputError as `load_tokenizer`.
    """
    state = {key: value.contiguous() for key, value in load_tokenizer(tokenizer).state_dict().items()}
    encoder = {key.removeprefix("encoder."): value for key, value in state.items() if key.startswith("encoder.")}
    rest = {key: value for key, value in state.items() if not key.startswith("encoder.")}
    folder.mkdir(parents=True, exist_ok=True)
    for name, tensors in zip(LAVIT_FILES, (encoder, rest), strict=True):
        torch.save(tensors, folder / name)
    if (decoder := tokenizer / "decoder.safetensors").is_file():
        torch.save(read_weights(decoder), folder / DECODER_FILE)
