"""Noun-phrase frequencies before and after the filter of G.2: the data and the plot of Figure 13."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mmgic.analysis.figures import new_axes, svg
from mmgic.analysis.frequency import Curve, curve
from mmgic.errors import InputError
from mmgic.settings import PhraseSettings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FREQUENCIES = "phrases.json"  # in the folder of the selected table
FREQUENCY_PLOT = "phrases.svg"  # beside it


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
    limits = settings.min_count, settings.captions_per_phrase
    return Frequencies(*limits, curve(before, settings.min_count), curve(after, settings.min_count))


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
    return svg(*frequency_axes(found), "noun phrases")


def frequency_axes(found: Frequencies) -> tuple[Figure, Axes]:
    """Figure 13: both curves on logarithmic scales, with the number of distinct phrases in the legend."""
    figure, axes = new_axes("noun phrases by descending frequency", "captions")
    for name, part in (("before", found.before), ("after", found.after)):
        axes.plot(part.ranks, part.counts, label=f"{name}: {part.distinct:,}", linewidth=1.4)
    if found.before.distinct:
        axes.set_xscale("log")
        axes.set_yscale("log")
    return figure, axes
