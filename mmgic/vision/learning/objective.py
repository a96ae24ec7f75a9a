"""What a visual tokenizer is trained for: its codes must let a decoder rebuild what the frozen encoder saw.

LaVIT's two stages: first selector and merger with the unquantized vectors, then, with the selector frozen, everything
through the codebook, which starts from k-means and follows its vectors by moving averages. A third trains LaVIT's own
decoder on the finished codes, where another decoder judged them before.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmgic.settings import TokenizerStage, TokenizerTraining
from mmgic.vision.learning.codebook import summed, workers
from mmgic.vision.network.config import VisionConfig
from mmgic.vision.network.encoder import NORM_EPS, Block, Mlp
from mmgic.vision.network.feature_decoder import DecoderConfig, FeatureDecoder
from mmgic.vision.network.merger import MaskedAttention
from mmgic.vision.network.selector import TokenSelector
from mmgic.vision.network.tokenizer import VisualTokenizer


class PlacesDecoder(nn.Module):
    """Rebuilds the targets of all patches from the kept patches' vectors at their places; needed in training only."""

    def __init__(self, config: VisionConfig, target_dim: int, depth: int) -> None:
        super().__init__()
        self.in_proj = nn.Linear(config.codebook_dim, config.width)
        self.dropped = nn.Parameter(torch.zeros(config.width))
        self.position = nn.Parameter(0.02 * torch.randn(config.patches, config.width))
        self.blocks = nn.ModuleList(Block(config) for _ in range(depth))
        self.norm = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.out_proj = nn.Linear(config.width, target_dim)

    def forward(self, vectors: Tensor, policy: Tensor) -> Tensor:
        """Unit vectors [B, N, codebook_dim], read where `policy` [B, N] is 1 -> [B, N, target_dim]."""
        kept = policy[..., None]
        x = kept * self.in_proj(vectors) + (1 - kept) * self.dropped + self.position
        for block in self.blocks:
            x = block(x)
        return self.out_proj(self.norm(x))


class RanksDecoder(FeatureDecoder):
    """LaVIT's feature decoder with the interface of `PlacesDecoder`."""

    def forward(self, vectors: Tensor, policy: Tensor) -> Tensor:
        kept = policy.bool()
        # the product with the policy's ones lets its gradient through
        return self.features((vectors * policy[..., None])[kept], kept.sum(dim=1).tolist())


def make_feature_decoder(config: VisionConfig, settings: TokenizerTraining, target_dim: int) -> nn.Module:
    if settings.decoder == "places":
        return PlacesDecoder(config, target_dim, settings.decoder_depth)
    return RanksDecoder(decoder_config(config, settings.decoder_depth, target_dim))


def decoder_config(config: VisionConfig, depth: int, feature_dim: int) -> DecoderConfig:
    """LaVIT's low-resolution decoder in the sizes of a tokenizer."""
    return DecoderConfig(
        patches=config.patches,
        width=config.width,
        depth=depth,
        num_heads=config.merger_heads,
        mlp_hidden=config.mlp_hidden,
        codebook_dim=config.codebook_dim,
        feature_dim=feature_dim,
    )


def sample_policy(log_probs: Tensor, noise: Tensor) -> Tensor:
    """Gumbel straight-through [B, N] of [B, N, 2] each: 0 or 1 forward, the soft sample's gradient backward."""
    soft = (log_probs + noise).softmax(dim=-1)[..., 0]
    return (soft >= 0.5).float() - soft.detach() + soft


def start_weights(model: VisualTokenizer, keep_ratio: float) -> None:
    """A merger that passes its features through, so that codes start as single patches, and an even selector."""
    bias = model.token_predictor.get_parameter("out_conv.4.bias")
    with torch.no_grad():
        bias.copy_(torch.tensor([keep_ratio, 1 - keep_ratio]).log())
    for module in model.causal_encoder.modules():
        if isinstance(module, (MaskedAttention, Mlp)):
            last = module.fc2 if isinstance(module, Mlp) else module.proj
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)


@dataclass(frozen=True)
class Outcome:
    """One worker's share of a step, B images."""

    loss: Tensor  # its mean over the workers has the gradient of the loss of the whole batch
    cosine: Tensor  # mean of rebuilt and true targets
    kept: Tensor  # share of patches
    distance: Tensor  # mean squared, of kept vectors and their codebook rows; 0 in the first stage
    vectors: Tensor  # unit vectors of the kept patches [T, codebook_dim]
    codes: Tensor  # int64 [T]; empty in the first stage


class Objective(nn.Module):
    """The trained parts of a tokenizer, the decoder that judges them, and what is minimised.

    `head` turns features into what the codes must preserve, [..., width] -> [..., target_dim]; it stays frozen.
    """

    def __init__(
        self, model: VisualTokenizer, head: nn.Module, decoder: nn.Module, settings: TokenizerTraining
    ) -> None:
        super().__init__()
        self.selector: TokenSelector = model.token_predictor
        self.merger = model.causal_encoder
        self.task_layer = model.encode_task_layer
        self.quantizer = model.quantize
        self.decoder = decoder
        self.ranks = None
        if settings.decoder_steps:
            self.ranks = RanksDecoder(decoder_config(model.config, settings.decoder_depth, model.config.width))
        self.head = head.requires_grad_(False)
        self.settings = settings
        self.patches = model.config.patches
        target_dim = head(torch.zeros(1, model.config.width)).shape[-1]
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.zeros(target_dim))
        self.register_buffer("std", torch.ones(target_dim))

    def standardise(self, features: Tensor) -> None:
        """From now on, targets are standardised by the statistics of `features` [B, N, width]: their average would be
        easy to rebuild."""
        targets = self.head(features).flatten(0, 1)
        self.mean.copy_(targets.mean(dim=0))
        self.std.copy_(targets.std(dim=0))

    def vectors(self, features: Tensor, policy: Tensor) -> Tensor:
        """Unit vectors [B, N, codebook_dim] float32 that the codebook is searched with."""
        with self._trunk(features):
            merged = self.merger(features, policy)
        return F.normalize(self.task_layer(merged.float()), dim=-1)

    def cosines(self, features: Tensor, vectors: Tensor, policy: Tensor) -> Tensor:
        """Cosine of rebuilt and true targets of each patch, [B, N]."""
        targets = (self.head(features) - self.mean) / self.std
        with self._trunk(features):
            rebuilt = self.decoder(vectors, policy)
        return F.cosine_similarity(rebuilt.float(), targets, dim=-1)

    def forward(self, features: Tensor, noise: Tensor, stage: TokenizerStage) -> Outcome:
        """Encoder features [B, N, width] float32 and Gumbel noise [B, N, 2]."""
        if stage == "decoder":
            return self._decoder_stage(features, noise)
        settings = self.settings
        policy = sample_policy(self.selector(features), noise)
        vectors = self.vectors(features, policy)
        kept = policy.bool()
        codes, distance = torch.empty(0, dtype=torch.int64), torch.zeros((), device=features.device)
        seen = vectors
        if stage == "quantized":
            rows, codes = self.quantizer(vectors.detach()[kept])
            # straight-through: the decoder reads codebook rows, the gradient goes to the vectors
            seen = vectors.masked_scatter(kept[..., None], vectors[kept] + (rows - vectors[kept]).detach())
            total = summed(kept.sum().float()).clamp(min=1)
            distance = (vectors[kept] - rows.detach()).square().sum() * workers() / total
        cosine = self.cosines(features, seen, policy).mean()
        share = policy.mean()
        # the square's gradient needs the share of the whole batch, the worker's own carries it
        off = summed(share) / workers() - settings.keep_ratio
        loss = 1 - cosine + settings.keep_weight * 2 * off * share + settings.commitment_weight * distance
        return Outcome(loss, cosine.detach(), share.detach(), distance.detach(), vectors.detach()[kept], codes)

    def _decoder_stage(self, features: Tensor, noise: Tensor) -> Outcome:
        """LaVIT's decoder rebuilds the features themselves."""
        assert self.ranks is not None
        with torch.no_grad():
            policy = sample_policy(self.selector(features), noise)
            kept = policy.bool()
            vectors = self.vectors(features, policy)
            rows, codes = self.quantizer(vectors[kept])
            seen = torch.zeros_like(vectors).masked_scatter(kept[..., None], rows)
        with self._trunk(features):
            rebuilt = self.ranks(seen, policy)
        cosine = F.cosine_similarity(rebuilt.float(), features, dim=-1).mean()
        distance = (vectors[kept] - rows).square().sum(dim=-1).mean()
        return Outcome(1 - cosine, cosine.detach(), policy.mean(), distance, vectors[kept], codes)

    def _trunk(self, features: Tensor) -> torch.autocast:
        half = self.settings.dtype == "bfloat16"
        return torch.autocast(features.device.type, torch.bfloat16, enabled=half)
