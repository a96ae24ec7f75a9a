"""The extended VL vocabulary (Section 3.1): text tokens, then [IMG] and [/IMG], then one token per visual code."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmgic.errors import InputError
from mmgic.files import read_text

VOCABULARY_FILE = "vl_vocabulary.json"  # in the folder of an exported model: the two fields of its VLVocabulary


@dataclass(frozen=True)
class VLVocabulary:
    """Token ids of a text vocabulary of `text_size` entries extended by a visual codebook of `num_codes` codes.

    The text tokenizer never sees the new ids: they have no strings, so no text can be mistaken for one.
    `code_to_id`, `id_to_code` and `is_visual` take an int, a numpy array or a torch tensor and return the same kind.
    """

    text_size: int
    num_codes: int

    @property
    def img(self) -> int:
        """[IMG], before each image's codes."""
        return self.text_size

    @property
    def end_img(self) -> int:
        """[/IMG], after each image's codes."""
        return self.text_size + 1

    @property
    def first_code(self) -> int:
        """The id of code 0."""
        return self.text_size + 2

    @property
    def size(self) -> int:
        """The number of ids in all: 48386 for LLaMA-2's 32000 tokens and LaVIT's 16384 codes."""
        return self.first_code + self.num_codes

    def code_to_id(self, codes: Any) -> Any:
        return codes + self.first_code

    def id_to_code(self, ids: Any) -> Any:
        return ids - self.first_code

    def is_visual(self, ids: Any) -> Any:
        """True for codes and for [IMG] and [/IMG]: where an image ends is part of generating it."""
        return ids >= self.text_size

    def image_tokens(self, codes: Sequence[int] | np.ndarray) -> list[int]:
        """[IMG], the ids of `codes`, [/IMG]. Raises InputError for a code outside the codebook."""
        numbers = codes.tolist() if isinstance(codes, np.ndarray) else codes
        if len(numbers) and not 0 <= min(numbers) <= max(numbers) < self.num_codes:
            raise InputError(
                f"the visual codes reach from {min(numbers)} to {max(numbers)} but the codebook has {self.num_codes} "
                "entries; tokenize the images with the visual tokenizer that the model is built for"
            )
        first = self.first_code
        return [self.img, *[first + number for number in numbers], self.end_img]


def read_vocabulary(folder: str | Path) -> VLVocabulary | None:
    """What an exported model's folder says of its vocabulary; None for a folder that says nothing, as of a model that
    knows no visual tokens. Raises InputError if it cannot be read."""
    text = read_text(f"{folder}/{VOCABULARY_FILE}")
    if text is None:
        return None
    try:
        return VLVocabulary(**json.loads(text))
    except (ValueError, TypeError):
        raise InputError(
            f"{folder}/{VOCABULARY_FILE} must hold text_size and num_codes; export the model again"
        ) from None
