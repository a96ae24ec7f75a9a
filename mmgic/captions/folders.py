"""Model folders as Hugging Face's libraries write them, read without the network and without pickles."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoImageProcessor, AutoTokenizer, PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from mmgic.errors import InputError

disable_progress_bar()  # one for each actor would fill a job's log


def check_folder(folder: str, kind: str, setting: str) -> None:
    """Raises InputError where `folder` holds no model of model_type `kind` ("blip-2", "clip") in safetensors."""
    try:
        found = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError):
        raise InputError(f"{setting} is '{folder}', without a readable config.json; give a model's folder") from None
    if found != kind:
        raise InputError(f"{setting} is '{folder}', a model of type '{found}'; it takes one of type '{kind}'")
    if not any(Path(folder).glob("*.safetensors")):
        raise InputError(f"{setting} is '{folder}', which holds no .safetensors file; pickled weights are not loaded")


def load_model(model_class: type[PreTrainedModel], folder: str, dtype: torch.dtype, setting: str) -> Any:
    """The model of a folder in evaluation mode. Raises InputError where weights are damaged, missing or do not fit."""
    try:
        model, info = model_class.from_pretrained(
            folder, dtype=dtype, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except Exception as error:
        # safetensors, torch and transformers each have errors of their own for files that do not fit
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"{setting} is '{folder}', whose weights do not load ({reason}); fetch them again") from None
    if missing := sorted(info["missing_keys"]):
        raise InputError(f"{setting} is '{folder}', which lacks {len(missing)} weights, such as {missing[0]}")
    return model.eval()


def load_tokenizer(folder: str, setting: str) -> Any:
    """The tokenizer of a folder. Raises InputError where there is none."""
    tokenizer = _load(AutoTokenizer, folder, setting)
    if not tokenizer.vocab_size:
        # Transformers makes an empty one where it finds no file
        raise InputError(f"{setting} is '{folder}', which holds no tokenizer; fetch its tokenizer.json as well")
    return tokenizer


@functools.cache
def image_processor(folder: str, setting: str) -> Any:
    """A folder's image processor, loaded once in each process. Raises InputError where there is none."""
    return _load(AutoImageProcessor, folder, setting)


def _load(auto_class: Any, folder: str, setting: str) -> Any:
    try:
        return auto_class.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"{setting} is '{folder}', whose files cannot be used ({reason}); fetch them again") from None
