"""The learning rate of each step (Table 10): linear warm-up, then a cosine down to a share of the peak."""

from __future__ import annotations

import math

from mmgic.settings import TrainingSettings


def learning_rate(step: int, steps: int, settings: TrainingSettings) -> float:
    """The rate of the 0-based `step` of `steps`. The warm-up ends at the peak, the last step has min_lr_ratio of it."""
    warmup = round(settings.warmup_ratio * steps)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    progress = (step - warmup + 1) / (steps - warmup)
    cosine = (1 + math.cos(math.pi * progress)) / 2
    return settings.learning_rate * (settings.min_lr_ratio + (1 - settings.min_lr_ratio) * cosine)
