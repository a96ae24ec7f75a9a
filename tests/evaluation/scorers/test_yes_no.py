"""Scores of Yes / No answers: hand-worked values and what holds of any answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgic.evaluation.scorers.yes_no import score_yes_no


def test_worked_example():
    score = score_yes_no([True, False, True, False], [True, True, False, False])
    assert (score.accuracy, score.precision, score.recall, score.f1, score.yes_ratio) == (0.5,) * 5


def test_constant_answers():
    labels = [True, True, False, False]
    assert score_yes_no([True] * 4, labels).f1 == pytest.approx(2 / 3)
    never = score_yes_no([False] * 4, labels)
    assert (never.accuracy, never.precision, never.recall, never.f1, never.yes_ratio) == (0.5, 0, 0, 0, 0)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1))
def test_shares_of_any_answers(pairs):
    answers, labels = zip(*pairs, strict=True)
    score, swapped = score_yes_no(answers, labels), score_yes_no(labels, answers)
    assert (score.precision, score.accuracy) == (swapped.recall, swapped.accuracy)
    hits, misses = pairs.count((True, True)), pairs.count((True, False)) + pairs.count((False, True))
    assert score.f1 == pytest.approx(2 * hits / (2 * hits + misses) if hits else 0)
    assert score.f1 == pytest.approx(swapped.f1)
