"""Figures of speed, worked by hand."""

import pytest
import torch
from torch import nn

from mmgic.training.speed import SpeedMeter, matmul_peak, matrix_weights


def test_figures_of_a_step() -> None:
    model = nn.ModuleDict({"llama": nn.Linear(10, 20), "embedding": nn.Embedding(50, 10)})
    assert matrix_weights(model) == 200  # neither the bias nor a table that is looked up in
    meter = SpeedMeter(model, torch.float32, torch.device("cpu"), room=500, workers=2)
    meter.peak = 1e6
    meter(tokens=3000, micro_batches=4, seconds=1.0)
    speed = meter(tokens=3000, micro_batches=4, seconds=3.0)
    assert (speed.tokens_per_second, speed.tokens_per_second_per_worker) == (1000, 500)
    assert (speed.mfu_4n, speed.mfu_6n) == pytest.approx((4 * 200 * 500 / 1e6, 6 * 200 * 500 / 1e6))
    assert speed.padding == 0.25  # 2 workers x 4 micro batches x 500 tokens hold 3000
    assert (speed.median_seconds, speed.longest_seconds) == (2.0, 3.0)


def test_the_peak_is_one_that_a_processor_can_have() -> None:
    assert 1e8 < matmul_peak("cpu", torch.float32) < 1e14
