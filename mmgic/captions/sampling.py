"""Nucleus sampling in which each sequence brings its own random numbers."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import LogitsProcessor


class OwnNucleus(LogitsProcessor):
    """Leaves of each sequence's next tokens the one that its next random number draws from the nucleus.

    The nucleus is the fewest likeliest tokens that together have probability `top_p`. One uniform number for each
    sequence and step picks from it by the inverse of the cumulated probabilities, so that greedy decoding after this
    is sampling, and a sequence's draws are its own wherever it stands in a batch.
    """

    def __init__(self, uniforms: Tensor, top_p: float, temperature: float) -> None:
        self.uniforms = uniforms  # float32 [sequences, steps] in [0, 1)
        self.top_p = top_p
        self.temperature = temperature
        self.step = 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [sequences, vocabulary] -> 0 for the token that is drawn and -inf for all others."""
        probabilities, tokens = (scores.float() / self.temperature).softmax(dim=-1).sort(descending=True, stable=True)
        cumulated = probabilities.cumsum(dim=-1)
        last = (cumulated < self.top_p).sum(dim=-1, keepdim=True).clamp(max=cumulated.shape[-1] - 1)
        wanted = self.uniforms[:, self.step, None] * cumulated.gather(-1, last)
        # rounding may carry the product up to the last of the nucleus, but never beyond it
        drawn = torch.minimum((cumulated <= wanted).sum(dim=-1, keepdim=True), last)
        self.step += 1
        return torch.full_like(scores, -torch.inf).scatter(-1, tokens.gather(-1, drawn), 0.0)
