"""Noun-phrase frequencies before and after the filter of G.2: the data and the plot of Figure 13."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

import numpy as np

from mmgic.analysis.figures import new_axes, svg
from mmgic.errors import InputError
from mmgic.settings import PhraseSettings

FREQUENCIES = "phrases.json"  # in the folder of the selected table
FREQUENCY_PLOT = "phrases.svg"  # beside it
POINTS = 400  # of a curve


@dataclass(frozen=True)
class Curve:
    """Distinct phrases by descending frequency: `counts[i]` is the frequency at rank `ranks[i]` (from 1)."""

    phrases: int
    occurrences: int
    frequent: int  # phrases of at least `min_count` captions
    ranks: tuple[int, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Frequencies:
    """Figure 13: `before` and `after` the filter, with its two numbers."""

    min_count: int
    captions_per_phrase: int
    before: Curve
    after: Curve

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"


def frequencies(before: np.ndarray, after: np.ndarray, settings: PhraseSettings) -> Frequencies:
    """The curves from the captions of each distinct phrase before and after, in any order."""
    curves = [_curve(counts, settings.min_count) for counts in (before, after)]
    return Frequencies(settings.min_count, settings.captions_per_phrase, curves[0], curves[1])


def read_frequencies(text: str) -> Frequencies:
    """What `Frequencies.to_json` wrote. Raises InputError for any other text."""
    try:
        record = json.loads(text)
        before, after = (
            Curve(**{**record[key], "ranks": tuple(record[key]["ranks"]), "counts": tuple(record[key]["counts"])})
            for key in ("before", "after")
        )
        return Frequencies(int(record["min_count"]), int(record["captions_per_phrase"]), before, after)
    except (ValueError, TypeError, KeyError):
        raise InputError(f"{FREQUENCIES} holds no phrase frequencies; delete it and run the filter again") from None


def frequency_plot(found: Frequencies) -> str:
    """Figure 13 as SVG text."""
    figure, axes = new_axes("noun phrases by descending frequency", "captions")
    for name, curve in (("before", found.before), ("after", found.after)):
        axes.plot(curve.ranks, curve.counts, label=f"{name}: {curve.phrases:,}", linewidth=1.4)
    axes.set_xscale("log")
    axes.set_yscale("log")
    return svg(figure, axes, "noun phrases")


def _curve(counts: np.ndarray, min_count: int) -> Curve:
    """At most POINTS points, evenly spread over the logarithm of the rank, the first and the last among them."""
    counts = np.sort(np.asarray(counts, np.int64))[::-1]
    if not len(counts):
        return Curve(0, 0, 0, (), ())
    ranks = np.unique(np.geomspace(1, len(counts), POINTS).round().astype(np.int64))
    frequent = int((counts >= min_count).sum())
    return Curve(len(counts), int(counts.sum()), frequent, tuple(ranks.tolist()), tuple(counts[ranks - 1].tolist()))
