"""Nucleus sampling by the sequences' own random numbers."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopPLogitsWarper

from mmgic.captions.sampling import OwnNucleus

NO_IDS = torch.zeros((1, 0), dtype=torch.long)


def draw(scores: torch.Tensor, uniforms: list[float], top_p: float = 0.9, temperature: float = 1.0) -> list[int]:
    """The token that each uniform number draws from one distribution."""
    processor = OwnNucleus(torch.tensor(uniforms, dtype=torch.float32)[:, None], top_p, temperature)
    left = processor(NO_IDS, scores.expand(len(uniforms), -1))
    assert (left.isfinite().sum(dim=1) == 1).all()
    return left.argmax(dim=1).tolist()


def test_worked_by_hand():
    # cumulated 0.5, 0.8, 0.95: three tokens are the nucleus of 0.9, and u * 0.95 is looked up
    scores = torch.tensor([0.15, 0.5, 0.05, 0.3]).log()
    assert draw(scores, [0.0, 0.5, 0.53, 0.84, 0.85, 0.9999999]) == [1, 1, 3, 3, 0, 0]
    assert draw(scores, [0.0, 0.6, 0.9999999], top_p=0.5) == [1, 1, 1]
    assert draw(scores, [0.96, 0.9999999], top_p=1.0) == [2, 2]


@pytest.mark.parametrize(("top_p", "temperature"), [(0.9, 1.0), (0.5, 1.0), (1.0, 0.7), (0.8, 1.5)])
def test_distribution_is_that_of_the_library(top_p, temperature):
    scores = torch.randn(1, 50, generator=torch.Generator().manual_seed(0)) * 2
    warpers = LogitsProcessorList([TemperatureLogitsWarper(temperature), TopPLogitsWarper(top_p)])
    expected = warpers(NO_IDS, scores).softmax(dim=-1)[0]
    grid = ((np.arange(20_000) + 0.5) / 20_000).tolist()
    shares = torch.bincount(torch.tensor(draw(scores[0], grid, top_p, temperature)), minlength=50) / 20_000
    assert torch.allclose(shares, expected, atol=2e-4)


@given(st.integers(0, 2**32 - 1))
def test_a_sequence_keeps_its_draws_wherever_it_stands(seed):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(6, 30, generator=generator)
    uniforms = torch.rand(6, 3, generator=generator)
    order = torch.randperm(6, generator=generator)
    straight, mixed = OwnNucleus(uniforms, 0.9, 1.0), OwnNucleus(uniforms[order], 0.9, 1.0)
    for _ in range(3):
        assert torch.equal(straight(NO_IDS, scores)[order], mixed(NO_IDS, scores[order]))
