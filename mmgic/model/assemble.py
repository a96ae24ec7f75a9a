"""The model that a run's settings describe."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from mmgic.errors import InputError
from mmgic.model.vl_llama import VLLlama, build_model, load_llama_config
from mmgic.model.vocabulary import VLVocabulary
from mmgic.settings import Settings

CODEBOOK = "quantize.embedding.weight"


def untrained_model(settings: Settings) -> VLLlama:
    """The model before training, from `model`, `vision.checkpoint` and `seed`. Raises InputError if unusable."""
    codebook = read_codebook(settings.vision.checkpoint)
    vocabulary = VLVocabulary(load_llama_config(settings.model.llm).vocab_size, len(codebook))
    return build_model(settings.model, vocabulary, codebook, settings.seed)


def read_codebook(folder: str | Path) -> Tensor:
    """The codes of the visual tokenizer in `folder`, float [num_codes, width]. Raises InputError for another folder."""
    if not folder:
        raise InputError("no visual tokenizer is given; set vision.checkpoint to its folder")
    path = Path(folder) / "model.safetensors"
    try:
        with safe_open(path, framework="pt") as file:
            return file.get_tensor(CODEBOOK)
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{path} holds no codebook ({error}); set vision.checkpoint to a visual tokenizer's folder"
        ) from None
