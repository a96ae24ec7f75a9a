"""What a linear reader can tell about a picture from its codes alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def bag_of_codes(codes: Sequence[Tensor], codebook_size: int) -> Tensor:
    """Codes of each picture, int64 [T] -> float32 [pictures, codebook_size]: log(1 + how often each code is there)."""
    return torch.stack([torch.bincount(c, minlength=codebook_size) for c in codes]).float().log1p()


def linear_probe(inputs: Tensor, labels: Tensor, tested: int, steps: int = 300) -> Tensor:
    """Fits one logistic regression per label on all but the last `tested` pictures and returns its answers on those.

    `inputs` float32 [pictures, features], `labels` bool [pictures, labels] -> bool [tested, labels].
    """
    fitted = len(inputs) - tested
    weight = torch.zeros(inputs.shape[1], labels.shape[1], requires_grad=True)
    bias = torch.full((labels.shape[1],), -2.0, requires_grad=True)
    optimizer = torch.optim.AdamW([weight, bias], 0.05, weight_decay=0.02)
    target = labels[:fitted].float()
    for _ in range(steps):
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(inputs[:fitted] @ weight + bias, target).backward()
        optimizer.step()
    with torch.no_grad():
        return inputs[fitted:] @ weight + bias > 0


def micro_f1(answers: Tensor, labels: Tensor) -> float:
    """2 TP / (2 TP + FP + FN) over all pictures and labels, bool [pictures, labels]."""
    hits = (answers & labels).sum()
    return (2 * hits / (answers.sum() + labels.sum())).item()
