"""Causal attention inside each document of a packed sequence, for the models of Transformers.

A packed sequence is one row of documents laid end to end. Every document is attended to on its own, so nothing is
padded and no [tokens x tokens] mask is built; the cost is the sum of the documents' own squared lengths. Models'
dropout of attention weights, which is 0 in every released Llama, is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface

PACKED = "mmgic_packed"
_BLOCK = 128  # positions that the kernel takes at once


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    borders: Tensor,
    longest: int,
    scaling: float,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention function in the form that Transformers calls.

    `query` [1, heads, tokens, width], `key` and `value` [1, key heads, tokens, width]; `borders` and `longest` as
    `document_borders` gives them. Returns [1, tokens, heads, width].

    On a GPU in a 16-bit type it is PyTorch's kernel for sequences of different lengths, one launch for all documents;
    else a loop over them.
    """
    on_gpu = query.device.type == "cuda" and query.dtype in (torch.bfloat16, torch.float16)
    attend = varlen_attention if on_gpu else document_loop
    q, k, v = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    return attend(q, k, v, borders, longest, scaling).unsqueeze(0), None


AttentionInterface.register(PACKED, packed_attention)


def varlen_attention(query: Tensor, key: Tensor, value: Tensor, borders: Tensor, longest: int, scale: float) -> Tensor:
    """`query` [tokens, heads, width], `key` and `value` [tokens, key heads, width] in a 16-bit type."""
    return varlen_attn(  # type: ignore[return-value]
        query, key, value, borders, borders, longest, longest, scale=scale, window_size=(-1, 0), enable_gqa=True
    )


# a compiler would unroll it into another graph for each number of documents
@torch.compiler.disable  # type: ignore[untyped-decorator]
def document_loop(query: Tensor, key: Tensor, value: Tensor, borders: Tensor, longest: int, scale: float) -> Tensor:
    """`varlen_attention` on any device and in any type."""
    lengths = borders.diff().tolist()
    parts = (tensor.transpose(0, 1).unsqueeze(0).split(lengths, 2) for tensor in (query, key, value))
    outputs = [
        F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale, enable_gqa=True)
        for q, k, v in zip(*parts, strict=True)
    ]
    return torch.cat(outputs, dim=2)[0].transpose(0, 1)


def document_borders(lengths: Sequence[int], device: torch.device) -> tuple[Tensor, int]:
    """Where documents laid end to end begin and the last one ends, int32 [documents + 1], and a bound of their
    lengths."""
    borders = F.pad(torch.tensor(lengths, dtype=torch.int32).cumsum(0, dtype=torch.int32), (1, 0))
    return borders.to(device), -(-max(lengths) // _BLOCK) * _BLOCK
