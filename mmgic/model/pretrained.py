"""Folders of models as Hugging Face ships them, read without the network and without running what a file may hold."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AutoImageProcessor,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING
from transformers.utils.logging import disable_progress_bar

from mmgic.errors import InputError
from mmgic.model.llama_config import load_llama_config
from mmgic.vision.folders import read_weights

disable_progress_bar()  # one for each actor would fill a job's log

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"  # the tables with a row for each token
TABLES = (EMBEDDING, HEAD)


def check_folder(folder: str, kind: str, setting: str) -> None:
    """Raises InputError if `folder` holds no model of model_type `kind` ("blip-2", "clip") in safetensors."""
    try:
        found = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError):
        raise InputError(f"{setting} is '{folder}', without a readable config.json; give a model's folder") from None
    if found != kind:
        raise InputError(f"{setting} is '{folder}', a model of type '{found}'; it takes one of type '{kind}'")
    if not any(Path(folder).glob("*.safetensors")):
        raise InputError(f"{setting} is '{folder}', which holds no .safetensors file; pickled weights are not loaded")


def weight_files(folder: str | Path) -> list[Path]:
    """The files that hold the weights of a model's folder, as its index says; some may be missing.

    Safetensors go first, as Transformers takes them. Raises InputError if there are none, or the index is damaged.
    """
    for name in ("model.safetensors", "pytorch_model.bin"):
        index = Path(folder) / f"{name}.index.json"
        if index.is_file():
            try:
                shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
            except (ValueError, KeyError, AttributeError):
                raise InputError(f"{index} is no index of weights; fetch it again") from None
            return sorted(Path(folder) / shard for shard in shards)
        if (Path(folder) / name).is_file():
            return [Path(folder) / name]
    raise InputError(f"{folder} holds no weights in safetensors, nor in PyTorch's form; fetch them")


def folder_weights(folder: str | Path) -> dict[str, Tensor]:
    """The tensors of a model's folder by name. They are mapped: a tensor is read when it is used.

    Raises InputError if a file is missing or damaged.
    """
    return {name: tensor for file in weight_files(folder) for name, tensor in read_weights(file).items()}


def load_model(
    model_class: type[PreTrainedModel], folder: str | Path, dtype: torch.dtype | str, setting: str, **options: Any
) -> Any:
    """The model of a folder in evaluation mode on the CPU; `options` are those of `from_pretrained`.

    `setting` names the folder in errors. Raises InputError if weights are damaged, missing or do not fit; with
    `device_map="meta"` that is all it does, by the files' headers alone.
    """
    try:
        model, info = model_class.from_pretrained(
            str(folder),
            dtype=dtype,
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are named below
            **{"use_safetensors": True, **options},
        )
    except Exception as error:
        # safetensors, torch and transformers each have errors of their own for files that do not fit
        try:
            folder_weights(folder)
        except InputError as damage:  # it names the file
            raise InputError(f"{setting} is '{folder}': {damage}") from None
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"{setting} is '{folder}', whose weights do not load ({reason}); fetch them again") from None
    if missing := sorted(info["missing_keys"]):
        raise InputError(f"{setting} is '{folder}', which lacks {len(missing)} weights, such as {missing[0]}")
    for name, found, expected in sorted(info["mismatched_keys"]):
        raise InputError(
            f"{setting} is '{folder}', where {name} is {list(found)} but its config.json says {list(expected)}; fetch "
            "both from one place"
        )
    return model.eval()


def decoder_class(config: PreTrainedConfig) -> type[PreTrainedModel]:
    """The language model that a config of `load_llama_config` is of."""
    found: type[PreTrainedModel] = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    return found


def load_llama(folder: str | Path, dtype: torch.dtype | str, **options: Any) -> Any:
    """The language model of a folder in its own class: one file or shards, safetensors or, as Llamas are often shipped,
    PyTorch's own.

    The folder's generation_config, with which chat models are sampled, is not taken over: a setting that a caller
    leaves open has its neutral value. Raises InputError if the folder holds no whole model of a known type.
    """
    kind = decoder_class(load_llama_config(folder))
    # PyTorch's files are loaded with `weights_only`: what else a pickle holds is an error
    llama = load_model(kind, folder, dtype, "model.llm", **{"use_safetensors": None, **options})
    llama.generation_config = GenerationConfig()
    return llama


@functools.cache
def image_processor(folder: str, setting: str) -> Any:
    """A folder's image processor, loaded once in each process. Raises InputError if there is none."""
    try:
        return AutoImageProcessor.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"{setting} is '{folder}', whose files cannot be used ({reason}); fetch them again") from None


def load_llama_vectors(folder: str | Path, dtype: torch.dtype) -> Any:
    """The Llama of a folder with its embedding, its head and its vectors; its matrices stay on the meta device.

    For what the matrices, nearly all of the bytes, are not needed for. Raises InputError as `load_llama`.
    """
    config = load_llama_config(folder)
    with torch.device("meta"):
        llama = decoder_class(config)(config)
    weights = folder_weights(folder)
    if EMBEDDING in weights:
        weights.setdefault(HEAD, weights[EMBEDDING])  # tied
    names = [name for name, p in llama.named_parameters(remove_duplicate=False) if p.ndim == 1 or name in TABLES]
    if missing := [name for name in names if name not in weights]:
        raise InputError(f"model.llm is '{folder}', which lacks {len(missing)} weights, such as {missing[0]}")
    llama.load_state_dict({name: weights[name].to(dtype) for name in names}, strict=False, assign=True)
    return llama.to(dtype).eval()
