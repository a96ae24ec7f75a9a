"""The vocabulary and the model that a run's settings describe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmgic.errors import InputError
from mmgic.model.vocabulary import VLVocabulary, read_vocabulary
from mmgic.settings import Settings

if TYPE_CHECKING:
    from mmgic.model.vl_llama import VLLlama


def vocabulary_of(settings: Settings) -> VLVocabulary:
    """The VL vocabulary of `model.llm` and `vision.checkpoint`. That of an exported model is taken as it is.

    Raises InputError if one of them is unusable, or if the exported model was trained on other codes.
    """
    from mmgic.model.llama_config import load_llama_config
    from mmgic.vision.folders import read_codebook

    codes = len(read_codebook(settings.vision.checkpoint))
    text_size = load_llama_config(settings.model.llm).vocab_size
    extended = read_vocabulary(settings.model.llm)
    if extended and extended.num_codes != codes:
        raise InputError(
            f"{settings.model.llm} knows {extended.num_codes} visual codes but {settings.vision.checkpoint} has "
            f"{codes}; set vision.checkpoint to the visual tokenizer that it was trained with"
        )
    return extended or VLVocabulary(text_size, codes)


def untrained_model(settings: Settings, **options: Any) -> VLLlama:
    """The model before training, from `model`, `vision.checkpoint` and `seed`; `options` are `build_model`'s.

    Raises InputError if unusable.
    """
    from mmgic.model.vl_llama import build_model
    from mmgic.vision.folders import read_codebook

    codebook = read_codebook(settings.vision.checkpoint)
    return build_model(settings.model, vocabulary_of(settings), codebook, settings.seed, **options)
