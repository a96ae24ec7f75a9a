"""What a sweep leaves: one row of figures per trial as CSV, a picture of them, and text for the terminal."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from mmgic.analysis.text_table import text_table


def write_sweep(rows: Sequence[dict[str, float]], key: str, folder: Path) -> str:
    """Writes `table.csv` and `plot.png` of the trials' figures against the setting `key`; returns the table as text."""
    rows = sorted(rows, key=lambda row: row[key])
    names = list(rows[0])
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "table.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)

    figures = [name for name in names if name != key]
    figure = Figure(figsize=(3.4 * len(figures), 2.8), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(figures), squeeze=False)[0], figures, strict=True):
        axes.plot([row[key] for row in rows], [row[name] for row in rows], marker="o", markersize=4)
        axes.set(xlabel=key, title=name)
        axes.grid(alpha=0.3)
    figure.savefig(folder / "plot.png", dpi=120)

    table = text_table(names, [[f"{row[name]:.4g}" for name in names] for row in rows])
    return f"{table}\ntable and plot: {folder}"
