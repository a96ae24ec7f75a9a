"""An exported model with what its prompts are made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from transformers import PreTrainedTokenizerBase

from mmgic.errors import InputError
from mmgic.evaluation.engines import Engine, load_engine
from mmgic.model.text_tokenizer import load_text_tokenizer
from mmgic.model.vocabulary import VOCABULARY_FILE, VLVocabulary, read_vocabulary


@dataclass(frozen=True)
class ExportedModel:
    engine: Engine
    tokenizer: PreTrainedTokenizerBase
    vocabulary: VLVocabulary


def load_model(
    folder: str | Path, engine: Literal["transformers", "vllm"], batch_size: int, gpus: float = 0
) -> ExportedModel:
    """The model that `mmgic.training.export` wrote to `folder`. Raises InputError if something of it is missing."""
    loaded = load_engine(engine, folder, batch_size, gpus)
    return ExportedModel(loaded, load_text_tokenizer(folder), load_vocabulary(folder))


def load_vocabulary(folder: str | Path) -> VLVocabulary:
    """The VL vocabulary of an exported model. Raises InputError if the export does not say it."""
    vocabulary = read_vocabulary(folder)
    if vocabulary is None:
        raise InputError(f"{folder} has no {VOCABULARY_FILE}; it takes a model that a training run exported")
    return vocabulary
