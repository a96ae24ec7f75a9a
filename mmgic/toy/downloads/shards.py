"""Model folders as the Hugging Face hub ships them: JSON files, and weights cut into shards beside an index."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from mmgic.toy.datasets.samples import write_bytes


def write_shards(folder: Path, tensors: Mapping[str, Tensor], shards: int = 2) -> None:
    """model-0000N-of-0000M.safetensors and model.safetensors.index.json, the names in their order."""
    folder.mkdir(parents=True, exist_ok=True)
    names = list(tensors)
    size = -(-len(names) // shards)
    weight_map: dict[str, str] = {}
    for i in range(shards):
        file = f"model-{i + 1:05d}-of-{shards:05d}.safetensors"
        part = names[i * size : (i + 1) * size]
        save_file({name: tensors[name].contiguous() for name in part}, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    total = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    write_pretty(folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": weight_map})


def write_pretty(path: Path, content: Any) -> None:
    """A JSON file as Transformers writes them."""
    write_bytes(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def added_token(content: str) -> dict[str, Any]:
    """A special token as tokenizer_config.json spells it out."""
    flags = dict.fromkeys(("lstrip", "normalized", "rstrip", "single_word"), False)
    return {"__type": "AddedToken", "content": content, **flags}
