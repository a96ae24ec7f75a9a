"""What lies in the folder of a visual tokenizer, or of an image encoder alone, and how it is read.

    layout                        sizes                   weights
    `save_tokenizer`'s            config.json             model.safetensors, the encoder's names under "encoder."
    LaVIT's release               its tensors' shapes     eva_vitg_psz14.bin, tokenizer_encoder.bin: encoder and rest
    `save_lavit`'s, of any size   config.json             as LaVIT's release
    an image encoder's alone      as above                model.safetensors or eva_vitg_psz14.bin

LaVIT's feature decoders lie beside its tokenizer; `mmgic.vision.lavit` reads and writes them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from math import isqrt
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from mmgic.errors import InputError
from mmgic.vision.network.config import VisionConfig
from mmgic.vision.network.tokenizer import VisualTokenizer

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
LAVIT_FILES = ("eva_vitg_psz14.bin", "tokenizer_encoder.bin")  # the released encoder, then the rest of the tokenizer
DECODER_FILES = (
    "tokenizer_decoder.bin",
    "highres_tokenizer_decoder.bin",
)  # of the low- and the high-resolution decoder
CODEBOOK = "quantize.embedding.weight"


def save_tokenizer(model: VisualTokenizer, folder: str | Path) -> None:
    """Writes config.json and model.safetensors (keys as LaVIT's, encoder prefixed) into `folder`."""
    folder = Path(folder)
    save_config(model.config, folder)
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, folder / WEIGHTS_FILE)


def save_config(config: VisionConfig, folder: Path) -> None:
    """Writes config.json into `folder`, which is made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_FILE).write_text(json.dumps(asdict(config), indent=2) + "\n", encoding="utf-8")


def tokenizer_files(folder: str | Path) -> list[Path]:
    """The files that a tokenizer's codes depend on: its weights and, if there is one, its config.json.

    Raises InputError, which names what is missing, if `folder` holds no whole tokenizer.
    """
    return [path for path in (Path(folder) / CONFIG_FILE, *_weight_files(folder)) if path.is_file()]


def load_config(folder: str | Path) -> VisionConfig:
    """The sizes of the tokenizer, or of the image encoder alone, in `folder`.

    They are those of its config.json. A folder of LaVIT's files without one has the sizes of its tensors and LaVIT's 16
    heads, which no tensor tells; what an encoder alone does not tell is as in LaVIT's release. Raises InputError.
    """
    folder = Path(folder)
    try:
        text = (folder / CONFIG_FILE).read_text(encoding="utf-8")
    except OSError:
        if not (folder / LAVIT_FILES[0]).is_file() or (folder / WEIGHTS_FILE).is_file():
            raise InputError(_no_tokenizer(folder, f"it holds no readable {CONFIG_FILE}")) from None
        return _sizes(folder)
    names = {field.name for field in fields(VisionConfig)}
    try:
        config = json.loads(text)
    except ValueError:
        raise InputError(f"{folder / CONFIG_FILE} is no JSON file; save_tokenizer writes a good one") from None
    if not isinstance(config, dict) or config.keys() != names:
        raise InputError(f"{folder / CONFIG_FILE} does not hold exactly the fields {', '.join(sorted(names))}")
    return VisionConfig(**config)


def check_tokenizer(folder: str | Path) -> VisionConfig:
    """The sizes of the tokenizer in `folder`, whose files `load_tokenizer` can load. Reads the files' headers alone.

    Raises InputError like `load_tokenizer`.
    """
    files, config = _weight_files(folder), load_config(folder)
    with torch.device("meta"):
        model = VisualTokenizer(config)
    model.own_names({key: value for path in files for key, value in read_weights(path).items()})
    return config


def load_tokenizer(folder: str | Path, dtype: str = "float32") -> VisualTokenizer:
    """The tokenizer of `folder`, in evaluation mode on the CPU; `dtype` is what encoder and merger compute in.

    Raises InputError if a file is missing, unreadable, or of other sizes than the config says.
    """
    files = _weight_files(folder)
    model = VisualTokenizer(load_config(folder))
    model.load_lavit({key: value for path in files for key, value in read_weights(path).items()})
    return model.cast_trunk(getattr(torch, dtype)).eval()


def read_codebook(folder: str | Path) -> Tensor:
    """The codes of the tokenizer in `folder`, float32 [num_codes, width]. The rest of the weights stays on disk.

    Raises InputError if there is no whole tokenizer.
    """
    path = _weight_files(folder)[-1]
    codebook = read_weights(path).get(CODEBOOK)
    if codebook is None or codebook.ndim != 2:
        raise InputError(f"{path} holds no codebook {CODEBOOK} [codes, width]; give a visual tokenizer's folder")
    return codebook.to(torch.float32, copy=True)


def read_encoder(folder: str | Path) -> dict[str, Tensor]:
    """The weights of the file in `folder` that holds the image encoder, without the prefix "encoder.".

    Raises InputError if there is none.
    """
    own = Path(folder) / WEIGHTS_FILE
    released = Path(folder) / LAVIT_FILES[0]
    weights = read_weights(released if released.is_file() and not own.is_file() else own)
    return {key.removeprefix("encoder."): value for key, value in weights.items()}


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors by name, of a .safetensors file or of a PyTorch file that holds nothing but tensors.

    They stay on disk until they are used, if the file's format allows that. Raises InputError if there is no such file.
    """
    weights = read_file(path)
    if not is_state(weights):
        raise InputError(f"{path} holds no tensors by name; a model's weights are a mapping of names to tensors")
    return dict(weights)


def is_state(value: Any) -> bool:
    """Whether `value` is tensors by name."""
    return isinstance(value, Mapping) and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items())


def read_file(path: Path) -> Any:
    """What a .safetensors or PyTorch file holds; it is mapped if its format allows that. Raises InputError for code."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:  # a file that is older than the zip format cannot be mapped
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path} is missing; fetch or save it again") from None
    # an empty file, a text or a web page under such a name: each ends in an error of another kind
    except Exception as error:
        # the libraries' own messages run over several lines and, for pickles, advise to switch the safety off
        raise InputError(f"{path} is damaged or holds more than tensors; fetch or save it again") from error


def _weight_files(folder: str | Path) -> list[Path]:
    """The files that hold a whole tokenizer's weights, the codebook in the last one. Raises InputError."""
    if not str(folder):
        raise InputError("no visual tokenizer is given; set vision.checkpoint to its folder")
    folder = Path(folder)
    released = [folder / name for name in LAVIT_FILES]
    if (folder / WEIGHTS_FILE).is_file() or not any(path.is_file() for path in released):
        released = [folder / WEIGHTS_FILE]
    if missing := [path.name for path in released if not path.is_file()]:
        raise InputError(_no_tokenizer(folder, f"{missing[0]} is missing"))
    return released


def _no_tokenizer(folder: Path, reason: str) -> str:
    """What is wrong with `folder`, and which folder may be meant."""
    names = ("visual_tokenizer", "tokenizer")  # in LaVIT's release, and in what is imported from it
    hint = next((f"; name {folder / name} instead" for name in names if (folder / name).is_dir()), "")
    return f"{folder} is no visual tokenizer: {reason}{hint}"


def _sizes(folder: Path) -> VisionConfig:
    """The sizes of LaVIT's files, or of its encoder's alone, by the shapes of their tensors."""
    files = [folder / name for name in LAVIT_FILES if (folder / name).is_file()]
    shapes = {key: value.shape for path in files for key, value in read_weights(path).items()}
    try:
        _, positions, width = shapes["pos_embed"]
        patch = shapes["patch_embed.proj.weight"][-1]
        sizes = {
            "image_size": isqrt(positions - 1) * patch,
            "patch_size": patch,
            "width": width,
            "depth": _blocks(shapes, "blocks."),
            "mlp_hidden": shapes["blocks.0.mlp.fc1.weight"][0],
        }
        if len(files) > 1:
            codes, code_width = shapes[CODEBOOK]
            merger = _blocks(shapes, "causal_encoder.blocks.")
            sizes |= {"merger_depth": merger, "codebook_size": codes, "codebook_dim": code_width}
    except (KeyError, ValueError, IndexError):
        raise InputError(f"{folder} is not LaVIT's: its tensors have other names or shapes; fetch it again") from None
    return VisionConfig(**sizes)


def _blocks(names: Mapping[str, Any], prefix: str) -> int:
    return len({name.removeprefix(prefix).partition(".")[0] for name in names if name.startswith(prefix)})
