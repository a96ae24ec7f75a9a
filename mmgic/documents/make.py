"""The documents stage of MMGIC: images with visual tokens and annotations become pre-training documents."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mmgic.descriptions.reading import read_descriptions
from mmgic.documents.multi_grained import build_document
from mmgic.errors import InputError
from mmgic.model.vocabulary import VLVocabulary
from mmgic.settings import DocumentSettings
from mmgic.stages.rows import Row

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class MakeDocument:
    """TOKENIZED_IMAGE row -> DOCUMENT row. Small to send; a worker process loads the tokenizer once."""

    llm: str  # folder with the text tokenizer
    descriptions: str  # JSON lines; "" for none
    vocabulary: VLVocabulary
    settings: DocumentSettings
    seed: int
    repeat: int

    def __call__(self, row: Row) -> Row:
        return build_document(
            row,
            descriptions=read_descriptions(self.descriptions).of(row["source"]),
            tokenizer=load_tokenizer(self.llm),
            vocabulary=self.vocabulary,
            settings=self.settings,
            seed=self.seed,
            repeat=self.repeat,
            corpus="mmgic",
        )


@functools.cache
def load_tokenizer(folder: str) -> PreTrainedTokenizerBase:
    """The text tokenizer of a Hugging Face folder. Raises InputError where it holds none."""
    from transformers import AutoTokenizer  # seconds, which a stage without a tokenizer should not wait

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError):
        raise InputError(f"{folder} holds no tokenizer; put the Llama's tokenizer files beside its weights") from None
