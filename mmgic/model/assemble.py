"""The vocabulary and the model that a run's settings describe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmgic.model.vocabulary import VLVocabulary
from mmgic.settings import Settings

if TYPE_CHECKING:
    from mmgic.model.vl_llama import VLLlama


def vocabulary_of(settings: Settings) -> VLVocabulary:
    """The VL vocabulary of `model.llm` and `vision.checkpoint`. Raises InputError if one of them is unusable."""
    from mmgic.model.llama_config import load_llama_config
    from mmgic.vision.folders import read_codebook

    codebook = read_codebook(settings.vision.checkpoint)
    return VLVocabulary(load_llama_config(settings.model.llm).vocab_size, len(codebook))


def untrained_model(settings: Settings, *, frozen: bool = True) -> VLLlama:
    """The model before training, from `model`, `vision.checkpoint` and `seed`; `frozen` is `build_model`'s.

    Raises InputError if unusable.
    """
    from mmgic.model.vl_llama import build_model
    from mmgic.vision.folders import read_codebook

    codebook = read_codebook(settings.vision.checkpoint)
    return build_model(settings.model, vocabulary_of(settings), codebook, settings.seed, frozen=frozen)
