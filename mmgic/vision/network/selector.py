"""The token selector: which patches of an image are worth a visual token."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from mmgic.schema import record_generator
from mmgic.vision.network.config import VisionConfig, check_shape

Selection = Literal["gumbel", "argmax"]


class TokenSelector(nn.Module):
    """LaVIT's token predictor: per patch, its own features beside the image's mean, through a small MLP."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        width = config.width
        self.in_conv = nn.Sequential(nn.LayerNorm(width, eps=1e-5), nn.Linear(width, width), nn.GELU())
        self.out_conv = nn.Sequential(
            nn.Linear(width, width // 2),
            nn.GELU(),
            nn.Linear(width // 2, width // 4),
            nn.GELU(),
            nn.Linear(width // 4, 2),
            nn.LogSoftmax(dim=-1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Encoder features [B, N, width] float32 -> log-probabilities [B, N, 2] of (keep, drop)."""
        with torch.autocast(features.device.type, enabled=False):
            local, whole = self.in_conv(features).chunk(2, dim=-1)
            whole = whole.mean(dim=1, keepdim=True).expand_as(local)
            return self.out_conv(torch.cat((local, whole), dim=-1))

    def select(
        self,
        features: Tensor,
        *,
        selection: Selection,
        noise: Tensor | None,
        policy: Tensor | None,
        generator: torch.Generator | None,
    ) -> Tensor:
        """Encoder features [B, N, width] -> the patches to keep, bool [B, N]; options as `VisualTokenizer.encode`'s."""
        shape = tuple(features.shape[:2])
        if policy is None:
            if noise is None and selection == "gumbel":
                noise = gumbel_noise((*shape, 2), generator, features.device)
            if noise is not None:
                check_shape("noise", noise, (*shape, 2))
            return choose(self(features.float()), noise)
        check_shape("policy", policy, shape)
        return policy.bool()


def gumbel_noise(shape: tuple[int, ...], generator: torch.Generator | None, device: torch.device) -> Tensor:
    """Standard Gumbel draws, float32, -log of an exponential; from torch's global generator if none is given.

    A generator draws on its own device: one of the CPU gives the same noise for every `device`.
    """
    drawn_on = generator.device if generator else device
    return -torch.empty(shape, device=drawn_on).exponential_(generator=generator).log().to(device)


def record_noise(seed: int, source: str, record_id: str, frame: int, patches: int) -> Tensor:
    """The standard Gumbel draws, float32 [patches, 2], of one frame (0: the image, i + 1: region i) of one record."""
    generator = record_generator(seed, "tokenize", source, record_id, frame)
    exponential = generator.standard_exponential((patches, 2), dtype=np.float32)
    # zero is a possible draw; the tiniest float keeps its logarithm finite
    return -torch.from_numpy(exponential).clamp(min=torch.finfo(torch.float32).tiny).log()


def choose(log_probs: Tensor, noise: Tensor | None) -> Tensor:
    """The patches to keep, bool [B, N]: a sample of the selector's Bernoulli under Gumbel `noise` [B, N, 2], else its
    likelier side (a tie keeps)."""
    scores = log_probs if noise is None else log_probs + noise
    return scores[..., 0] >= scores[..., 1]
