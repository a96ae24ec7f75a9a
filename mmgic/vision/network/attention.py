"""LaVIT's masked softmax and the attention made of it: in plain form, and through a fused kernel."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

SOFTMAX_EPS = 1e-6
_EXTRA = 8  # channels that `fused_attention` adds to a head; kernels want multiples of eight


def masked_softmax(logits: Tensor, allowed: Tensor) -> Tensor:
    """LaVIT's softmax over the last axis (N keys) with a 0/1 mask, computed in float32.

    The row maximum runs over all keys, and every key shares in a weight of SOFTMAX_EPS, so that a row in which nothing
    is allowed becomes uniform. `allowed` broadcasts against `logits` [B, heads, N, N] and may carry a gradient.
    """
    logits = logits.float()
    weights = (logits - logits.amax(dim=-1, keepdim=True)).exp() * allowed
    return (weights + SOFTMAX_EPS / logits.shape[-1]) / (weights.sum(dim=-1, keepdim=True) + SOFTMAX_EPS)


def plain_attention(query: Tensor, key: Tensor, value: Tensor, allowed: Tensor) -> Tensor:
    """query, key, value [B, heads, N, d], allowed as `masked_softmax` takes it -> [B, heads, N, d]."""
    weights = masked_softmax(query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5, allowed)
    return weights.to(value.dtype) @ value


def fused_attention(query: Tensor, key: Tensor, value: Tensor, allowed: Tensor) -> Tensor:
    """`plain_attention` for a bool mask `allowed` [B, 1, N or 1, N], without its N x N weights in memory.

    With e the exponentials and M the maximum of a row of logits, what the plain form computes is
    (sum of allowed e v + eps mean(v)) / (sum of allowed e + eps): an ordinary softmax over the allowed keys and one key
    more, whose value is mean(v) and whose logit is M + log(eps). That logit is a product like any other once each query
    carries it in an added channel that this key alone reads. M needs the row's logits but once, in their own type.
    """
    size = query.shape[-1]
    scale = size**-0.5
    top = (query @ key.transpose(-2, -1)).amax(dim=-1, keepdim=True).float()
    extra = top + math.log(SOFTMAX_EPS) / scale
    # two channels: in bfloat16 the second holds what the first rounds away
    coarse = extra.to(query.dtype)
    fine = (extra - coarse.float()).to(query.dtype)
    query = torch.cat((query, coarse, fine, query.new_zeros(()).expand(*query.shape[:-1], _EXTRA - 2)), dim=-1)

    reader = torch.zeros(size + _EXTRA, dtype=key.dtype, device=key.device)
    reader[size : size + 2] = 1
    key = torch.cat((F.pad(key, (0, _EXTRA)), reader.expand(*key.shape[:2], 1, -1)), dim=-2)
    # the kernels take values of the keys' width only
    value = F.pad(torch.cat((value, value.mean(dim=-2, keepdim=True)), dim=-2), (0, _EXTRA))
    mask = F.pad(allowed, (0, 1), value=True)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)[..., :size]
