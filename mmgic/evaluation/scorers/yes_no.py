"""Scores of Yes / No answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class YesNoScore:
    """Shares in [0, 1] with "yes" as the positive class; 0 if a share's denominator is 0."""

    accuracy: float
    precision: float
    recall: float
    f1: float
    yes_ratio: float  # share of predicted yes
    questions: int


def score_yes_no(answers: Sequence[bool], labels: Sequence[bool]) -> YesNoScore:
    """Scores predicted yes (True) and no (False) against the labels, question by question."""
    if len(answers) != len(labels) or not labels:
        raise ValueError("answers and labels must be equally many, and at least one")
    pairs = list(zip(answers, labels, strict=True))
    true_yes, predicted_yes, labelled_yes = pairs.count((True, True)), sum(answers), sum(labels)
    precision = true_yes / predicted_yes if predicted_yes else 0.0
    recall = true_yes / labelled_yes if labelled_yes else 0.0
    return YesNoScore(
        accuracy=sum(answer == label for answer, label in pairs) / len(pairs),
        precision=precision,
        recall=recall,
        f1=2 * precision * recall / (precision + recall) if true_yes else 0.0,
        yes_ratio=predicted_yes / len(pairs),
        questions=len(pairs),
    )
