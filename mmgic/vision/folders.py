"""Tokenizer folders on disk: config.json beside model.safetensors, or LaVIT's released files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from mmgic.errors import InputError
from mmgic.vision.network.config import VisionConfig
from mmgic.vision.network.tokenizer import VisualTokenizer

# the released encoder, then the rest of the tokenizer
LAVIT_FILES = ("eva_vitg_psz14.bin", "tokenizer_encoder.bin")


def save_tokenizer(model: VisualTokenizer, folder: str | Path) -> None:
    """Writes config.json and model.safetensors (keys as LaVIT's, encoder prefixed) into `folder`."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(asdict(model.config), indent=2) + "\n", encoding="utf-8")


def load_config(folder: str | Path) -> VisionConfig:
    """Reads config.json. Raises InputError where it is missing or holds other fields than VisionConfig's."""
    path = Path(folder) / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise InputError(f"{folder} is no visual tokenizer: it holds no readable config.json") from None
    except ValueError:
        raise InputError(f"{path} is no JSON file; save_tokenizer writes a good one") from None
    names = {field.name for field in fields(VisionConfig)}
    if not isinstance(config, dict) or config.keys() != names:
        raise InputError(f"{path} does not hold exactly the fields {', '.join(sorted(names))}")
    return VisionConfig(**config)


def lavit_config(folder: Path) -> VisionConfig:
    """Sizes of a folder of LAVIT_FILES: those of its config.json, which an export has, else the release's."""
    return load_config(folder) if (folder / "config.json").is_file() else VisionConfig()


def load_tokenizer(folder: str | Path, dtype: str = "float32") -> VisualTokenizer:
    """The tokenizer of `folder`, in evaluation mode on the CPU; `dtype` is what encoder and merger compute in.

    `folder` is one that `save_tokenizer` wrote, LaVIT's released `visual_tokenizer` as downloaded, or one that
    `save_lavit` wrote.
    Raises InputError where a file is missing, unreadable, or of other sizes than the config says.
    """
    folder = Path(folder)
    if all((folder / name).is_file() for name in LAVIT_FILES):
        model = VisualTokenizer(lavit_config(folder))
        model.load_lavit({key: value for name in LAVIT_FILES for key, value in read_weights(folder / name).items()})
    else:
        model = VisualTokenizer(load_config(folder))
        model.load_lavit(read_weights(folder / "model.safetensors"))
    return model.cast_trunk(getattr(torch, dtype)).eval()


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors by name, of a .safetensors file or of a PyTorch file that holds nothing but tensors.

    Raises InputError where there is no such file.
    """
    weights = read_file(path)
    if not is_state(weights):
        raise InputError(f"{path} holds no tensors by name; a model's weights are a mapping of names to tensors")
    return dict(weights)


def is_state(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items())


def read_file(path: Path) -> Any:
    """What a .safetensors or PyTorch file holds, if that is no code. Raises InputError."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path} is missing; a visual tokenizer needs it") from None
    # an empty file, a text or a web page under such a name: each ends in an error of another kind
    except Exception as error:
        # the libraries' own messages run over several lines and, for pickles, advise to switch the safety off
        raise InputError(f"{path} is damaged or holds more than tensors; fetch or save it again") from error
