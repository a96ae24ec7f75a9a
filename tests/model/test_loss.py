"""The objective against its definition, and which tokens it is computed on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mmgic.model import loss as loss_module
from mmgic.model.loss import IGNORE, draws_target_only, modality_loss_sums, target_labels
from mmgic.model.vocabulary import VLVocabulary

VOCABULARY = VLVocabulary(text_size=10, num_codes=4)
DOCUMENT = np.array([1, 10, 12, 15, 11, 5, 6, 2])  # <s> [IMG] code code [/IMG] text text </s>


@pytest.mark.parametrize(
    ("template", "spans", "target_only", "expected"),
    [
        ("image_first", [], False, [10, 12, 15, 11, 5, 6, 2]),
        ("image_first", [], True, [IGNORE, IGNORE, IGNORE, IGNORE, 5, 6, 2]),
        ("text_first", [], True, [10, 12, 15, 11, IGNORE, IGNORE, IGNORE]),
        ("question", [], True, [10, 12, 15, 11, 5, 6, 2]),
        ("question", [[6, 8]], True, [IGNORE, IGNORE, IGNORE, IGNORE, IGNORE, 6, 2]),
        ("image_first", [[0, 2]], False, [10, IGNORE, IGNORE, IGNORE, IGNORE, IGNORE, IGNORE]),
    ],
)
def test_what_is_supervised(template: str, spans: list[list[int]], target_only: bool, expected: list[int]) -> None:
    labels = target_labels(DOCUMENT, template, spans, VOCABULARY, target_only)
    assert labels.tolist() == [*expected, IGNORE]


@pytest.mark.parametrize("mask_prob", [0.0, 0.4, 0.9, 1.0])
def test_mask_prob_is_the_share_of_visits(mask_prob: float) -> None:
    draws = [draws_target_only(0, mask_prob, row, 0, "0.0.0") for row in range(2000)]
    assert np.mean(draws) == pytest.approx(mask_prob, abs=0.04)


def test_the_draw_belongs_to_the_visit() -> None:
    draws = [[draws_target_only(seed, 0.5, row, 0, visit) for row in range(64)] for seed, visit in
             [(0, "0.0.0"), (0, "0.0.0"), (0, "0.1.0"), (1, "0.0.0")]]  # fmt: skip
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]
    assert draws[0] != draws[3]


@given(
    tokens=st.integers(0, 12), supervised=st.floats(0, 1), logits_at_once=st.integers(1, 2000), seed=st.integers(0, 99)
)
@hypothesis_settings(deadline=None)
def test_chunked_loss_equals_the_naive_one(tokens: int, supervised: float, logits_at_once: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(tokens, 5, generator=generator)
    head = torch.randn(VOCABULARY.size, 5, generator=generator)
    labels = torch.randint(VOCABULARY.size, (tokens,), generator=generator)
    labels[torch.rand(tokens, generator=generator) > supervised] = IGNORE
    weights = torch.tensor([0.1, 1.0])

    results = []
    for chunked in (True, False):
        inputs = [hidden.clone().requires_grad_(), head.clone().requires_grad_()]
        if chunked:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(loss_module, "LOGITS_AT_ONCE", logits_at_once)
                sums = modality_loss_sums(*inputs, labels, VOCABULARY.img)
                (sums * weights).sum().backward()
        else:
            losses = F.cross_entropy(inputs[0] @ inputs[1].T, labels, ignore_index=IGNORE, reduction="none")
            visual = labels >= VOCABULARY.img
            sums = torch.stack([losses[visual].sum(), losses[(labels != IGNORE) & ~visual].sum()])
            (sums * weights).sum().backward()
        results.append([sums.detach(), inputs[0].grad, inputs[1].grad])
    for ours, naive in zip(*results, strict=True):
        torch.testing.assert_close(ours, naive, rtol=1e-5, atol=1e-5)
