"""Accuracy, overall and of groups of items."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from mmgic.evaluation.benchmark import Item, Judgement, Score


def accuracy(values: Sequence[float]) -> Score:
    """The mean of what the answers count, of one answer at least."""
    return Score(sum(values) / len(values), "%")


def values_of(verdicts: Sequence[Judgement]) -> list[float]:
    return [verdict.value for verdict in verdicts]


def grouped(
    items: Sequence[Item], verdicts: Sequence[Judgement], group: str | Callable[[Item], Any]
) -> dict[str, list[float]]:
    """What the answers count by the items' `group`: a name in their metadata, or a function of the item.

    Items whose group is None are in none.
    """
    found = defaultdict(list)
    for item, verdict in zip(items, verdicts, strict=True):
        name = item.metadata.get(group) if isinstance(group, str) else group(item)
        if name is not None:
            found[str(name)].append(verdict.value)
    return dict(sorted(found.items()))


def accuracies(items: Sequence[Item], verdicts: Sequence[Judgement], group: str, prefix: str = "") -> dict[str, Score]:
    """The accuracy of each group by its name after `prefix`."""
    return {f"{prefix}{name}": accuracy(values) for name, values in grouped(items, verdicts, group).items()}
