"""The token merger: kept patches absorb what the dropped ones carry. Parameters carry LaVIT's own names."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmgic.vision.config import VisionConfig
from mmgic.vision.encoder import Mlp

NORM_EPS = 1e-5
SOFTMAX_EPS = 1e-6


def masked_softmax(logits: Tensor, allowed: Tensor) -> Tensor:
    """LaVIT's softmax over the last axis (N keys) with a 0/1 mask, computed in float32.

    The row maximum runs over all keys, and every key shares in a weight of SOFTMAX_EPS, so that a row in which nothing
    is allowed becomes uniform. `allowed` broadcasts against `logits` [B, heads, N, N] and may carry a gradient.
    """
    logits = logits.float()
    weights = (logits - logits.amax(dim=-1, keepdim=True)).exp() * allowed
    return (weights + SOFTMAX_EPS / logits.shape[-1]) / (weights.sum(dim=-1, keepdim=True) + SOFTMAX_EPS)


class MaskedAttention(nn.Module):
    """What self- and cross-attention share: heads, scale and the masked softmax."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.proj = nn.Linear(width, width)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, allowed: Tensor) -> Tensor:
        """query, key, value [B, N, width]; allowed [B, 1, N or 1, N] of 0 and 1 -> [B, N, width]."""
        query, key, value = (x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in (query, key, value))
        weights = masked_softmax(query @ key.transpose(-2, -1) * self.scale, allowed)
        return self.proj((weights.to(value.dtype) @ value).transpose(1, 2).flatten(2))


class CausalAttention(MaskedAttention):
    """Each position sees itself and the kept positions before it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads)
        self.qkv = nn.Linear(width, 3 * width)

    def forward(self, x: Tensor, policy: Tensor) -> Tensor:
        positions = torch.arange(x.shape[1], device=x.device)
        before = (positions[:, None] > positions).to(policy.dtype)
        itself = (positions[:, None] == positions).to(policy.dtype)
        allowed = before * policy[:, None, None, :] + itself
        query, key, value = self.qkv(x).chunk(3, dim=-1)
        return self.attend(query, key, value, allowed)


class CrossAttention(MaskedAttention):
    """Each position reads the dropped patches of the encoder's output."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)

    def forward(self, x: Tensor, patches: Tensor, policy: Tensor) -> Tensor:
        return self.attend(self.query(x), self.key(patches), self.value(patches), 1 - policy[:, None, None, :])


class MergerBlock(nn.Module):
    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.norm0 = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.token_causal_attn = CausalAttention(config.width, config.merger_heads)
        self.norm1 = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.token_cross_attn = CrossAttention(config.width, config.merger_heads)
        self.norm2 = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.mlp = Mlp(config.width, config.mlp_hidden)

    def forward(self, x: Tensor, patches: Tensor, policy: Tensor) -> Tensor:
        x = x + self.token_causal_attn(self.norm0(x), policy)
        x = x + self.token_cross_attn(self.norm1(x), patches, policy)
        return x + self.mlp(self.norm2(x))


class TokenMerger(nn.Module):
    """LaVIT's causal encoder."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.ln_vision = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.blocks = nn.ModuleList(MergerBlock(config) for _ in range(config.merger_depth))
        self.norm = nn.LayerNorm(config.width, eps=NORM_EPS)

    def forward(self, features: Tensor, policy: Tensor) -> Tensor:
        """Encoder features [B, N, width] and policy [B, N] (1 keeps, 0 drops) -> [B, N, width].

        All positions are computed; only those of kept patches mean anything to the quantizer.
        """
        # the residual stream starts from the raw features; only what cross-attention reads is normalised
        patches, x = self.ln_vision(features), features
        for block in self.blocks:
            x = block(x, patches, policy)
        return self.norm(x)
