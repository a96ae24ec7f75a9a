"""LaVIT's feature decoders: an image's codebook rows -> features of all its patches -> what a diffusion UNet reads.

The low-resolution decoder conditions Stable Diffusion 1.5, the high-resolution one SDXL. Parameters carry LaVIT's own
names. A decoder knows a code's rank among the kept patches, not its place in the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from mmgic.errors import InputError
from mmgic.vision.network.encoder import Mlp

NORM_EPS = 1e-5
PAD_SCORE = -10000.0  # added to the score of a padded position


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes of a feature decoder; the defaults are LaVIT's low-resolution one."""

    patches: int = 256  # of the image, and the most codes that it may have
    width: int = 1408
    depth: int = 12
    num_heads: int = 16
    mlp_hidden: int = 6144
    codebook_dim: int = 32
    feature_dim: int = 1408  # of the image encoder's features
    prompt_dim: int = 768  # of the UNet's cross-attention, less `pooled_dim`
    pooled_dim: int = 0  # LaVIT's high-resolution decoder: 1280; 0 makes a low-resolution decoder

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not isinstance(value, int) or value < (name != "pooled_dim"):
                raise InputError(f"decoder config: {name} is {value!r}; it takes a positive whole number")
        for whole in ("width", *(("feature_dim",) if self.pooled_dim else ())):
            if getattr(self, whole) % self.num_heads:
                raise InputError(
                    f"decoder config: {whole} {getattr(self, whole)} is no multiple of num_heads {self.num_heads}"
                )


@dataclass(frozen=True)
class Conditions:
    """What the UNet reads of B images."""

    prompt: Tensor  # [B, patches, prompt_dim + pooled_dim]
    pooled: Tensor | None = None  # [B, pooled_dim], high resolution only


class SelfAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, width] -> [B, N, width]; every position sees every other."""
        query, key, value = self.qkv(x).chunk(3, dim=-1)
        return self.proj(attend(query, key, value, self.heads))


class CrossAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, memory: Tensor, bias: Tensor) -> Tensor:
        """`x` [B, N, width] reads `memory` [B, T, width]; `bias` [B, 1, 1, T] is added to the logits."""
        return self.proj(attend(self.query(x), self.key(memory), self.value(memory), self.heads, bias))


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int, bias: Tensor | None = None) -> Tensor:
    """Multi-head attention of [B, N, width] over [B, T, width]; `bias` [B, 1, 1, T] is added to the scores."""
    query, key, value = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value, bias).transpose(1, 2).flatten(2)


class DecoderBlock(nn.Module):
    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.norm0 = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.self_attn = SelfAttention(config.width, config.num_heads)
        self.norm1 = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.cross_attn = CrossAttention(config.width, config.num_heads)
        self.norm2 = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.mlp = Mlp(config.width, config.mlp_hidden)

    def forward(self, x: Tensor, memory: Tensor, bias: Tensor) -> Tensor:
        """[B, N, width] -> [B, N, width]; `memory` and `bias` as `CrossAttention` takes them."""
        x = x + self.self_attn(self.norm0(x))
        x = x + self.cross_attn(self.norm1(x), memory, bias)
        return x + self.mlp(self.norm2(x))


class AttentionPool(nn.Module):
    """CLIP's: the mean of all positions asks them and itself."""

    def __init__(self, positions: int, width: int, heads: int, out: int) -> None:
        super().__init__()
        self.heads = heads
        self.positional_embedding = nn.Parameter(torch.randn(positions + 1, width) * width**-0.5)
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.c_proj = nn.Linear(width, out)

    def forward(self, x: Tensor) -> Tensor:
        """[B, positions, width] -> [B, out]."""
        x = torch.cat((x.mean(dim=1, keepdim=True), x), dim=1) + self.positional_embedding
        return self.c_proj(attend(self.q_proj(x[:, :1]), self.k_proj(x), self.v_proj(x), self.heads))[:, 0]


class FeatureDecoder(nn.Module):
    """What both decoders share: learned queries, one per patch, read the codes."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.pos_embed = nn.Parameter(torch.zeros(1, config.patches, width))
        self.query_embed = nn.Parameter(torch.zeros(1, config.patches, width))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.trunc_normal_(self.query_embed, std=0.02)
        self.in_proj = nn.Linear(config.codebook_dim, width)
        self.blocks = nn.ModuleList(DecoderBlock(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.decode_task_layer = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, config.feature_dim))

    def features(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        """Codebook rows [sum of counts, codebook_dim] of B images, one after the other -> the features that the image
        encoder saw, rebuilt: [B, patches, feature_dim].

        An image's features do not depend on its neighbours, except those of an image without any code: it reads the
        padding, as the reference does, of which there is as much as the longest image has codes.
        Raises InputError if an image has more codes than patches, or rows and counts do not fit.
        """
        if sum(counts) != len(rows) or rows.shape[1:] != (self.config.codebook_dim,):
            wanted = [sum(counts), self.config.codebook_dim]
            raise InputError(f"codebook rows are {list(rows.shape)}; images of {list(counts)} codes take {wanted}")
        if max(counts) > self.config.patches:
            raise InputError(f"an image has {max(counts)} codes; this decoder takes {self.config.patches} at most")
        memory = pad_sequence(list(self.in_proj(rows).split(list(counts))), batch_first=True)
        if not memory.shape[1]:
            memory = memory.new_zeros(len(counts), 1, self.config.width)
        ranks = torch.arange(memory.shape[1], device=rows.device)
        padded = ranks >= torch.tensor(counts, device=rows.device)[:, None]
        bias = (padded * PAD_SCORE)[:, None, None].to(memory.dtype)
        memory = memory + self.pos_embed[:, : memory.shape[1]]
        x = self.query_embed.expand(len(counts), -1, -1)
        for block in self.blocks:
            x = block(x, memory, bias)
        return self.decode_task_layer(self.norm(x))


class LowresDecoder(FeatureDecoder):
    def __init__(self, config: DecoderConfig) -> None:
        super().__init__(config)
        self.unet_proj = nn.Linear(config.feature_dim, config.prompt_dim)

    def forward(self, rows: Tensor, counts: Sequence[int]) -> Conditions:
        """As `features`."""
        return Conditions(self.unet_proj(self.features(rows, counts)))


class HighresDecoder(FeatureDecoder):
    def __init__(self, config: DecoderConfig) -> None:
        super().__init__(config)
        self.unet_proj_1 = nn.Linear(config.feature_dim, config.prompt_dim)
        self.unet_proj_2 = nn.Linear(config.feature_dim, config.pooled_dim)
        self.unet_attnpool = AttentionPool(config.patches, config.feature_dim, config.num_heads, config.pooled_dim)

    def forward(self, rows: Tensor, counts: Sequence[int]) -> Conditions:
        """As `features`."""
        features = self.features(rows, counts)
        prompt = torch.cat((self.unet_proj_1(features), self.unet_proj_2(features)), dim=-1)
        return Conditions(prompt, self.unet_attnpool(features))


def make_decoder(config: DecoderConfig) -> LowresDecoder | HighresDecoder:
    return HighresDecoder(config) if config.pooled_dim else LowresDecoder(config)
