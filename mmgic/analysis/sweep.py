"""What a sweep leaves: a row of figures for each trial as CSV, a picture of them, and text for the terminal."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from mmgic.analysis.text_table import text_table


@dataclass(frozen=True)
class Trial:
    """One value trained and scored with one seed."""

    value: float | str
    seed: int
    figures: Mapping[str, float]  # losses and each benchmark's number, by their labels
    folder: str  # of its training run


def write_sweep(trials: Sequence[Trial], setting: str, best_by: str, folder: Path) -> str:
    """Writes `table.csv`, a row for each trial, and `plot.png`, means with the deviation over seeds as error bars.

    Returns the means and sample deviations as text, and the folder of the best run: the best seed of the value with the
    highest mean of the figure `best_by`, or the lowest if that is a loss.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = list(trials[0].figures)
    with (folder / "table.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([setting, "seed", *names, "run"])
        writer.writerows([t.value, t.seed, *(t.figures[name] for name in names), t.folder] for t in trials)

    groups = {trial.value: [t for t in trials if t.value == trial.value] for trial in trials}
    means = {
        value: {name: _mean_and_deviation([t.figures[name] for t in group]) for name in names}
        for value, group in groups.items()
    }
    _plot(means, names, setting, folder / "plot.png")

    sign = -1 if best_by.endswith("loss") else 1
    best_value = max(means, key=lambda value: sign * means[value][best_by][0])
    best = max(groups[best_value], key=lambda trial: sign * trial.figures[best_by])
    seeds = len(next(iter(groups.values())))
    rows = [[_name(value), *(_printed(*means[value][name], seeds) for name in names)] for value in groups]
    lines = [text_table([setting, *names], rows)]
    if seeds > 1:
        lines.append(f"mean ± sample deviation of {seeds} seeds")
    return "\n".join(
        [*lines, f"table and plot: {folder}", f"best by {best_by}: {setting} {_name(best.value)}, {best.folder}"]
    )


def _mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """The deviation is the sample's; 0 of one value."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def _printed(mean: float, deviation: float, seeds: int) -> str:
    return f"{mean:.4g} ± {deviation:.2g}" if seeds > 1 else f"{mean:.4g}"


def _name(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _plot(
    means: Mapping[float | str, Mapping[str, tuple[float, float]]], names: Sequence[str], setting: str, path: Path
) -> None:
    """Numbers are joined by a line; names stand side by side."""
    numbers = not any(isinstance(value, str) for value in means)
    places = list(means) if numbers else list(range(len(means)))
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(3.4 * columns, (2.8 if numbers else 3.6) * rows), layout="constrained")
    for place, name in enumerate(names, start=1):
        axes = figure.add_subplot(rows, columns, place)
        heights, bars = zip(*(means[value][name] for value in means), strict=True)
        axes.errorbar(places, heights, yerr=bars, marker="o", markersize=4, capsize=3, linestyle="-" if numbers else "")
        axes.set(xlabel=setting, title=name)
        if not numbers:
            axes.set_xticks(places, [str(value) for value in means], rotation=30, ha="right")
            axes.margins(x=0.2)
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
