"""Toy weights under the tokenizer that a released model has: each new piece gets the rows of what it spells."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase


def rows_of(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, table: Tensor) -> Tensor:
    """For each text the mean of its tokens' rows in `table` [tokens, width]: [texts, width].

    `tokenizer` is the one that `table` was trained with. A text without tokens gets the mean of all rows.
    """
    encoded = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return torch.stack([table[ids].mean(dim=0) if ids else table.mean(dim=0) for ids in encoded])
