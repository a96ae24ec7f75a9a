"""The vector quantizer: a merged feature becomes the index of its nearest codebook row."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmgic.vision.network.config import VisionConfig


class Quantizer(nn.Module):
    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.codebook_size, config.codebook_dim)
        with torch.no_grad():
            self.embedding.weight.copy_(F.normalize(self.embedding.weight, dim=-1))

    def nearest(self, projected: Tensor) -> Tensor:
        """[T, codebook_dim] float32 -> int64 [T]: the row nearest to the l2-normalised query.

        The rows count as they are stored. LaVIT normalises them only when it initialises them, so this is a Euclidean
        distance, of which the query's constant norm is left out, and no cosine.
        """
        rows = self.embedding.weight
        query = F.normalize(projected, dim=-1)
        return (rows.square().sum(dim=-1) - 2 * query @ rows.T).argmin(dim=-1)

    def forward(self, projected: Tensor) -> tuple[Tensor, Tensor]:
        """[T, codebook_dim] float32 -> (codebook rows [T, codebook_dim], their indices [T])."""
        codes = self.nearest(projected)
        return self.embedding(codes), codes
