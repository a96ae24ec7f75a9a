"""An exported model with what its prompts are made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from transformers import PreTrainedTokenizerBase

from mmgic.errors import InputError
from mmgic.evaluation.engines import Engine, load_engine
from mmgic.evaluation.files import read_json
from mmgic.model.text_tokenizer import load_text_tokenizer
from mmgic.model.vocabulary import VLVocabulary
from mmgic.training.export import VOCABULARY_FILE


@dataclass(frozen=True)
class ExportedModel:
    engine: Engine
    tokenizer: PreTrainedTokenizerBase
    vocabulary: VLVocabulary


def load_model(folder: str | Path, engine: Literal["transformers", "vllm"], batch_size: int) -> ExportedModel:
    """The model that `mmgic.training.export` wrote to `folder`. Raises InputError if something of it is missing."""
    return ExportedModel(load_engine(engine, folder, batch_size), load_text_tokenizer(folder), load_vocabulary(folder))


def load_vocabulary(folder: str | Path) -> VLVocabulary:
    """The VL vocabulary of an exported model. Raises InputError if the export does not say it."""
    content = read_json(Path(folder) / VOCABULARY_FILE)
    try:
        return VLVocabulary(**content)
    except TypeError:
        raise InputError(
            f"{folder}/{VOCABULARY_FILE} must hold text_size and num_codes; export the model again"
        ) from None
