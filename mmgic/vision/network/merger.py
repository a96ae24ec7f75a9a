"""The token merger: kept patches absorb what the dropped ones carry. Parameters carry LaVIT's own names."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmgic.vision.network.attention import fused_attention, plain_attention
from mmgic.vision.network.config import VisionConfig
from mmgic.vision.network.encoder import Mlp

NORM_EPS = 1e-5


class MaskedAttention(nn.Module):
    """What self- and cross-attention share. `mix` is attention without the final projection."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.proj = nn.Linear(width, width)

    def mix(self, query: Tensor, key: Tensor, value: Tensor, allowed: Tensor) -> Tensor:
        """query, key, value [B, N, width]; allowed [B, 1, N or 1, N] of 0 and 1 -> [B, N, width].

        A policy that is being learned needs the plain form: the mask of a fused kernel passes no gradient.
        """
        query, key, value = (x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in (query, key, value))
        if allowed.requires_grad:
            mixed = plain_attention(query, key, value, allowed)
        else:
            mixed = fused_attention(query, key, value, allowed.bool())
        return mixed.transpose(1, 2).flatten(2)


class CausalAttention(MaskedAttention):
    """Each position sees itself and the kept positions before it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads)
        self.qkv = nn.Linear(width, 3 * width)

    def mixed(self, x: Tensor, policy: Tensor) -> Tensor:
        positions = torch.arange(x.shape[1], device=x.device)
        before = (positions[:, None] > positions).to(policy.dtype)
        itself = (positions[:, None] == positions).to(policy.dtype)
        allowed = before * policy[:, None, None, :] + itself
        query, key, value = self.qkv(x).chunk(3, dim=-1)
        return self.mix(query, key, value, allowed)

    def forward(self, x: Tensor, policy: Tensor) -> Tensor:
        """[B, N, width] -> [B, N, width]; `policy` [B, N] is 1 for kept positions, 0 for dropped ones."""
        return self.proj(self.mixed(x, policy))


class DroppedPatchAttention(MaskedAttention):
    """Each position reads the dropped patches of the encoder's output."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)

    def mixed(self, query: Tensor, patches: Tensor, policy: Tensor) -> Tensor:
        return self.mix(query, self.key(patches), self.value(patches), 1 - policy[:, None, None, :])

    def forward(self, x: Tensor, patches: Tensor, policy: Tensor) -> Tensor:
        """`x` [B, N, width] reads `patches` [B, N, width] that `policy` [B, N] drops -> [B, N, width]."""
        return self.proj(self.mixed(self.query(x), patches, policy))


class MergerBlock(nn.Module):
    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.norm0 = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.token_causal_attn = CausalAttention(config.width, config.merger_heads)
        self.norm1 = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.token_cross_attn = DroppedPatchAttention(config.width, config.merger_heads)
        self.norm2 = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.mlp = Mlp(config.width, config.mlp_hidden)

    def forward(self, x: Tensor, patches: Tensor, policy: Tensor) -> Tensor:
        """[B, N, width] -> [B, N, width]; `patches` [B, N, width] are the encoder's, `policy` [B, N] 1 keeps."""
        x = x + self.token_causal_attn(self.norm0(x), policy)
        x = x + self.token_cross_attn(self.norm1(x), patches, policy)
        return x + self.mlp(self.norm2(x))

    def kept_rows(self, x: Tensor, patches: Tensor, policy: Tensor) -> Tensor:
        """The rows of `forward` that `policy` [B, N] keeps, [T, width] in raster order, and work on no others.

        Keys and values are those of all positions, as the softmax's maximum and its eps run over all of them.
        """
        kept, rows = policy.bool(), rows_per_product(len(x), x.shape[1])
        own, cross = self.token_causal_attn, self.token_cross_attn
        mixed = own.mixed(self.norm0(x), policy)[kept]
        stream = in_parts(lambda before, mixed: before + own.proj(mixed), rows, x[kept], mixed)
        asked = in_parts(lambda stream: cross.query(self.norm1(stream)), rows, stream)
        query = asked.new_zeros(*kept.shape, x.shape[-1])
        query[kept] = asked
        mixed = cross.mixed(query, patches, policy)[kept]

        def rest(stream: Tensor, mixed: Tensor) -> Tensor:
            stream = stream + cross.proj(mixed)
            return stream + self.mlp(self.norm2(stream))

        return in_parts(rest, rows, stream, mixed)


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

    def kept_rows(self, features: Tensor, policy: Tensor) -> Tensor:
        """`forward(...)[policy.bool()]`, [T, width] in raster order.

        Of the last block, the kept rows alone are computed. The blocks before it need all rows: a dropped position's
        key raises the maximum of the rows after it, and its value is in their eps.
        """
        patches, x = self.ln_vision(features), features
        for block in self.blocks[:-1]:
            x = block(x, patches, policy)
        last: MergerBlock = self.blocks[-1]  # type: ignore[assignment]
        return self.norm(last.kept_rows(x, patches, policy))


def rows_per_product(images: int, patches: int) -> int:
    """How many kept rows go through a layer at once: an eighth of a batch's patches, or one image's."""
    return patches * max(1, images // 8)


def in_parts(function: Callable[..., Tensor], rows: int, *tensors: Tensor) -> Tensor:
    """`function` on `tensors` [T, ...] in parts of exactly `rows`, the last one padded with zeros.

    T is another in every batch, and a matrix product of another height may round in another way: an image's codes would
    depend on the images beside it.
    """
    total = len(tensors[0])
    padded = [F.pad(tensor, (0, 0, 0, -total % rows)) for tensor in tensors]
    parts = [function(*part) for part in zip(*(tensor.split(rows) for tensor in padded), strict=True)]
    return torch.cat(parts)[:total]
