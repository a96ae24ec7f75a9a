"""Causal attention inside each document of a packed sequence, for the Llama of Transformers.

A packed sequence is one row of documents laid end to end. Every document is attended to on its own, so nothing is
padded and no [tokens x tokens] mask is built; the cost is the sum of the documents' own squared lengths.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.utils.import_utils import is_flash_attn_2_available

PACKED = "mmgic_packed"
FLASH = "flash_attention_2"


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    document_lengths: Sequence[int],
    scaling: float,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention function in the form that Transformers calls.

    `query` [1, heads, tokens, width], `key` and `value` [1, key heads, tokens, width]; `document_lengths` adds up to
    tokens. Returns [1, tokens, heads, width].
    """
    lengths = list(document_lengths)
    grouped = key.shape[1] != query.shape[1]
    outputs = [
        F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=dropout, scale=scaling, enable_gqa=grouped)
        for q, k, v in zip(query.split(lengths, 2), key.split(lengths, 2), value.split(lengths, 2), strict=True)
    ]
    return torch.cat(outputs, dim=2).transpose(1, 2), None


AttentionInterface.register(PACKED, packed_attention)


def attention_name(gpus: float, dtype: str) -> str:
    """FlashAttention-2's variable-length kernel, if it is installed, for a model that is given a GPU and computes in a
    type that the kernel takes; `packed_attention` for any other."""
    return FLASH if gpus and dtype == "bfloat16" and is_flash_attn_2_available() else PACKED


def attention_arguments(name: str, document_lengths: Sequence[int], device: torch.device) -> dict[str, Any]:
    """What the Llama layers hand on to the attention function `name` about the documents' borders."""
    if name == PACKED:
        return {"document_lengths": tuple(document_lengths)}
    borders = F.pad(torch.tensor(document_lengths, dtype=torch.int32).cumsum(0, dtype=torch.int32), (1, 0)).to(device)
    longest = max(document_lengths)
    return {"cu_seq_lens_q": borders, "cu_seq_lens_k": borders, "max_length_q": longest, "max_length_k": longest}
