"""An exported model with what its prompts are made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from transformers import PreTrainedTokenizerBase

from mmgic.errors import InputError
from mmgic.evaluation.engines import Engine, load_engine
from mmgic.exported.processor import read_form
from mmgic.model.text_tokenizer import load_text_tokenizer
from mmgic.model.vocabulary import VOCABULARY_FILE, VLVocabulary, read_vocabulary
from mmgic.schema import Corpus


@dataclass(frozen=True)
class ExportedModel:
    engine: Engine
    tokenizer: PreTrainedTokenizerBase
    vocabulary: VLVocabulary
    form: Corpus  # in whose documents it is asked for captions


def load_model(
    folder: str | Path,
    engine: Literal["transformers", "vllm"],
    batch_size: int,
    gpus: float = 0,
    form: Corpus | Literal["auto"] = "auto",
) -> ExportedModel:
    """The model that `mmgic.training.export` wrote to `folder`; the form "auto" is the one that the folder says.

    Raises InputError if something of it is missing.
    """
    form = read_form(folder) if form == "auto" else form
    loaded = load_engine(engine, folder, batch_size, gpus)
    return ExportedModel(loaded, load_text_tokenizer(folder), load_vocabulary(folder), form)


def load_vocabulary(folder: str | Path) -> VLVocabulary:
    """The VL vocabulary of an exported model. Raises InputError if the export does not say it."""
    vocabulary = read_vocabulary(folder)
    if vocabulary is None:
        raise InputError(f"{folder} has no {VOCABULARY_FILE}; it takes a model that a training run exported")
    return vocabulary
