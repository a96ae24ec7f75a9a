"""How often things occur, as a curve of few points however many things there are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

POINTS = 400  # of a curve


@dataclass(frozen=True)
class Curve:
    """Distinct things by descending frequency: `counts[i]` is the frequency at rank `ranks[i]` (from 1)."""

    distinct: int
    occurrences: int
    frequent: int  # things that occur at least as often as the curve's limit
    ranks: tuple[int, ...]
    counts: tuple[int, ...]

    @property
    def rare_share(self) -> float:
        """Share of the distinct things that occur less often than the limit."""
        return 1 - self.frequent / self.distinct if self.distinct else 0.0


def curve(counts: np.ndarray, limit: int) -> Curve:
    """The curve of the frequencies `counts` [things], in any order.

    It has at most POINTS points, evenly spread over the logarithm of the rank; the first and the last rank are among
    them.
    """
    counts = np.sort(np.asarray(counts, np.int64))[::-1]
    if not len(counts):
        return Curve(0, 0, 0, (), ())
    ranks = np.unique(np.geomspace(1, len(counts), POINTS).round().astype(np.int64))
    frequent = int((counts >= limit).sum())
    return Curve(len(counts), int(counts.sum()), frequent, tuple(ranks.tolist()), tuple(counts[ranks - 1].tolist()))
