"""The CLIP that ranks captions, from a folder of Transformers' or of OpenCLIP's. In float32, for its scores decide.

An OpenCLIP folder holds `open_clip_config.json` and weights in safetensors, as its models lie on the Hugging Face Hub.
A folder that holds both forms is read as Transformers' own. Pixels are made by one processor in either case.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import CLIPImageProcessor, CLIPModel
from transformers.image_utils import PILImageResampling

from mmgic.errors import InputError
from mmgic.model.pretrained import check_folder, image_processor, load_model
from mmgic.model.text_tokenizer import load_text_tokenizer

SETTING = "captions.clip"
CONFIG = "open_clip_config.json"


class Clip(Protocol):
    """A loaded CLIP. Vectors are not normalised."""

    processor: Any  # of images, as Transformers has them

    def images(self, pixels: Tensor) -> Tensor:
        """Normalised pixels, float32 [N, 3, S, S] -> [N, dim]."""

    def tokens(self, captions: Sequence[str]) -> dict[str, Tensor]:
        """What `texts` takes, each [N, positions]; captions that are too long are cut."""

    def texts(self, **tokens: Tensor) -> Tensor:
        """-> [N, dim]."""


def load_clip(folder: str, device: torch.device) -> Clip:
    """The CLIP of a folder. Raises InputError if it holds none."""
    check_clip(folder)
    return _OpenClip(folder, device) if _is_open_clip(folder) else _TransformersClip(folder, device)


def check_clip(folder: str) -> None:
    """Raises InputError if `folder` holds no CLIP of either form in safetensors."""
    if not _is_open_clip(folder):
        check_folder(folder, "clip", SETTING)
    elif not any(Path(folder).glob("*.safetensors")):
        raise InputError(f"{SETTING} is '{folder}', which holds no .safetensors file; pickled weights are not loaded")


@functools.cache
def clip_processor(folder: str) -> Any:
    """The image processor of a CLIP's folder, loaded once in each process. Raises InputError if there is none."""
    return _open_clip_processor(folder) if _is_open_clip(folder) else image_processor(folder, SETTING)


def clip_parts(folder: str) -> list[Callable[[], Any]]:
    """What of a CLIP can be looked at without its weights in memory: each call raises InputError if it is unusable."""
    if _is_open_clip(folder):
        return [
            partial(_open_clip_tokenizer, folder),
            partial(clip_processor, folder),
            partial(_compare_open_clip, folder),
        ]
    return [
        partial(load_text_tokenizer, folder, SETTING),
        partial(clip_processor, folder),
        partial(load_model, CLIPModel, folder, "auto", SETTING, device_map="meta"),
    ]


class _TransformersClip:
    def __init__(self, folder: str, device: torch.device) -> None:
        self.processor = clip_processor(folder)
        self.tokenizer = load_text_tokenizer(folder, SETTING)
        self.model = load_model(CLIPModel, folder, torch.float32, SETTING).to(device)

    def images(self, pixels: Tensor) -> Tensor:
        vectors: Tensor = self.model.get_image_features(pixels, return_dict=True).pooler_output
        return vectors

    def tokens(self, captions: Sequence[str]) -> dict[str, Tensor]:
        positions = self.model.config.text_config.max_position_embeddings
        inputs = self.tokenizer(
            list(captions), padding="max_length", truncation=True, max_length=positions, return_tensors="pt"
        )
        return {name: inputs[name] for name in ("input_ids", "attention_mask")}

    def texts(self, **tokens: Tensor) -> Tensor:
        vectors: Tensor = self.model.get_text_features(**tokens, return_dict=True).pooler_output
        return vectors


class _OpenClip:
    def __init__(self, folder: str, device: torch.device) -> None:
        self.processor = clip_processor(folder)
        self.tokenizer = _open_clip_tokenizer(folder)
        try:
            self.model = _open_clip().create_model(f"local-dir:{folder}", device=device).eval()
        except Exception as error:  # each library has errors of its own for files that do not fit
            raise _unusable(folder, error) from None

    def images(self, pixels: Tensor) -> Tensor:
        vectors: Tensor = self.model.encode_image(pixels)
        return vectors

    def tokens(self, captions: Sequence[str]) -> dict[str, Tensor]:
        return {"text": self.tokenizer(list(captions))}

    def texts(self, **tokens: Tensor) -> Tensor:
        vectors: Tensor = self.model.encode_text(**tokens)
        return vectors


def _is_open_clip(folder: str) -> bool:
    return (Path(folder) / CONFIG).is_file() and not (Path(folder) / "config.json").is_file()


def _open_clip() -> Any:
    try:
        import open_clip  # takes seconds, and is needed for its folders alone
    except ImportError:
        raise InputError(f"{SETTING} is a folder of OpenCLIP's; it needs pip install 'mmgic[open-clip]'") from None
    return open_clip


def _open_clip_tokenizer(folder: str) -> Any:
    try:
        return _open_clip().get_tokenizer(f"local-dir:{folder}")
    except InputError:
        raise
    except Exception as error:
        raise _unusable(folder, error) from None


def _compare_open_clip(folder: str) -> None:
    """Raises InputError if the weights of an OpenCLIP folder are not those of its config, by their headers alone."""
    try:
        with torch.device("meta"):
            model = _open_clip().create_model(f"local-dir:{folder}", load_weights=False, device="meta")
        stored = _stored_shapes(folder)
    except InputError:
        raise
    except Exception as error:
        raise _unusable(folder, error) from None
    for name, tensor in model.named_parameters():
        if "positional_embedding" in name:
            continue  # OpenCLIP resizes those
        if stored.get(name) != tuple(tensor.shape):
            lies = f"is {list(stored[name])} in its weights" if name in stored else "is not in its weights"
            raise InputError(
                f"{SETTING} is '{folder}', whose config asks for {name} {list(tensor.shape)}, which {lies}; fetch both "
                "again from one place"
            )


def _stored_shapes(folder: str) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for path in sorted(Path(folder).glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            shapes |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    return shapes


def _open_clip_processor(folder: str) -> CLIPImageProcessor:
    """A processor that resizes, crops and normalises as OpenCLIP's transform of this folder does.

    But for one thing: the middle of an odd rest is rounded as Transformers rounds it, so that both forms of one model
    see the same pixels.
    """
    defaults = asdict(_open_clip().transform.PreprocessCfg())
    try:
        config = json.loads((Path(folder) / CONFIG).read_text(encoding="utf-8"))
        given = {**defaults, **config.get("preprocess_cfg", {})}
        size = int(config["model_cfg"]["vision_cfg"]["image_size"])
        resample = PILImageResampling[given["interpolation"].upper()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unusable(folder, error) from None
    square = {"height": size, "width": size}
    if given["resize_mode"] not in ("shortest", "squash"):
        raise InputError(f"{SETTING} is '{folder}', whose images are resized by '{given['resize_mode']}'; give another")
    crops = given["resize_mode"] == "shortest"
    return CLIPImageProcessor(
        size={"shortest_edge": size} if crops else square,
        do_center_crop=crops,
        crop_size=square,
        resample=resample,
        image_mean=list(given["mean"]),
        image_std=list(given["std"]),
    )


def _unusable(folder: str, error: Exception) -> InputError:
    reason = f"{type(error).__name__}: {error}".strip().partition("\n")[0]
    return InputError(f"{SETTING} is '{folder}', which OpenCLIP cannot use ({reason}); fetch it again")
