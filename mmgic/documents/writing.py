"""What documents of every kind are written with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

from mmgic.model.text_tokenizer import load_text_tokenizer
from mmgic.model.vocabulary import VLVocabulary
from mmgic.schema import Document, Interleaved, TokenizedImage, TokenizedPair, UnfitDocument
from mmgic.settings import DocumentSettings, Settings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


Made = TypeVar("Made", TokenizedImage, TokenizedPair, Interleaved)  # the rows that documents are made of


@dataclass(frozen=True)
class Writing:
    """What the builders of documents take beside a row."""

    tokenizer: PreTrainedTokenizerBase
    vocabulary: VLVocabulary
    settings: DocumentSettings
    seed: int


@dataclass(frozen=True)
class DocumentMaker(ABC, Generic[Made]):
    """Makes a DOCUMENT row of one row. Small to send: a worker process loads the tokenizer, once."""

    used: ClassVar[tuple[str, ...]]  # the document settings that its rows depend on
    llm: str  # folder with the text tokenizer
    vocabulary: VLVocabulary
    settings: DocumentSettings
    seed: int

    @classmethod
    def of(cls, settings: Settings, vocabulary: VLVocabulary, **own: Any) -> Self:
        """The maker for a run's settings; `own` are the fields that it has beside the shared ones."""
        return cls(settings.model.llm, vocabulary, settings.documents, settings.seed, **own)

    @property
    def writing(self) -> Writing:
        return Writing(load_text_tokenizer(self.llm), self.vocabulary, self.settings, self.seed)

    @abstractmethod
    def __call__(self, row: Made) -> Document | UnfitDocument: ...
