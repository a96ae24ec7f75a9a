"""The weights of a plain Hugging Face model with a trained model's logits: LoRA merged, the factorized embedding
multiplied out. Written a shard at a time, so that memory holds a shard and what is trained, whatever the model's size.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from peft.tuners.lora import Linear as LoraLinear
from safetensors.torch import save_file
from torch import Tensor

from mmgic.errors import InputError
from mmgic.model.pretrained import EMBEDDING, HEAD, decoder_class, folder_weights
from mmgic.model.vl_llama import VLLlama

SHARD_BYTES = 2 << 30


@torch.no_grad()
def write_weights(model: VLLlama, folder: Path, shard_bytes: int = SHARD_BYTES) -> int:
    """Writes config.json and safetensors in the model's dtype, with an index if there are several files.
    Returns the number of parameters.

    Frozen matrices, which `model` may have on the meta device, are read from the folder that it was made from. Raises
    InputError if they are gone.
    """
    source = model.config.name_or_path
    frozen = folder_weights(source)
    config = copy.deepcopy(model.config)
    config.vocab_size = model.vocabulary.size
    config.tie_word_embeddings = False
    config._attn_implementation = "sdpa"
    with torch.device("meta"):
        plain = decoder_class(config)(config).to(model.dtype)
    config.architectures, config.dtype = [type(plain).__name__], model.dtype
    config.save_pretrained(folder)

    split = split_torch_state_dict_into_shards(
        plain.state_dict(), filename_pattern="model{suffix}.safetensors", max_shard_size=shard_bytes
    )
    for file, names in split.filename_to_tensors.items():
        try:
            shard = {name: _plain(model, name, frozen).to(model.dtype).contiguous() for name in names}
        except KeyError as error:
            raise InputError(f"{source} no longer holds the weight {error}; put back the language model") from None
        save_file(shard, folder / file, metadata={"format": "pt"})
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    return sum(parameter.numel() for parameter in plain.parameters())


def _plain(model: VLLlama, name: str, frozen: Mapping[str, Tensor]) -> Tensor:
    """The plain model's tensor `name`; one that is merged is float32."""
    if name == EMBEDDING:
        return model.embedding.table()
    if name == HEAD:
        return model.head
    inside, _, kind = name.removeprefix("model.").rpartition(".")
    module = model.llama.get_submodule(inside)
    base = module.get_base_layer() if isinstance(module, LoraLinear) else module
    stored: Tensor = getattr(base, kind)
    if stored.is_meta:
        stored = frozen[name].to(model.dtype)
    if isinstance(module, LoraLinear) and kind == "weight":
        return sum((module.get_delta_weight(adapter) for adapter in module.active_adapters), stored.float())
    return stored
