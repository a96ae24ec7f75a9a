"""`mmgic.analysis.statistics` as files: Figures 12 and 13, also as text that an HTML page holds, and stats.json."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmgic.analysis import published
from mmgic.analysis.figures import new_axes, svg
from mmgic.analysis.frequency import Curve
from mmgic.analysis.phrases import frequency_axes
from mmgic.analysis.statistics import RARE, DetectionCount, Statistics, TokenCount
from mmgic.files import write_text

STATISTICS = "stats.json"


def statistics_figures(found: Statistics) -> dict[str, str]:
    """Title -> SVG text of the figures that there is data for."""
    return {title: svg(figure, axes, title) for title, (figure, axes) in _figures(found).items()}


def write_statistics(found: Statistics, folder: Path) -> None:
    """Writes stats.json, and each figure as SVG and as PNG, to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for title, (figure, axes) in _figures(found).items():
        name = title.replace(" ", "_")
        write_text(str(folder / f"{name}.svg"), svg(figure, axes, title))
        figure.savefig(folder / f"{name}.png", dpi=160, facecolor="white", metadata={"Software": None})
    write_text(str(folder / STATISTICS), json.dumps(beside_the_paper(found), indent=2) + "\n")


def beside_the_paper(found: Statistics) -> dict[str, Any]:
    """What stats.json holds: `found`, and under `paper` in each part what the paper prints there, as it rounds it."""
    record = dataclasses.asdict(found)
    for rows, kind, paper in (
        (record["detection"], DetectionCount, published.DETECTION),
        (record["instruction_tokens"], TokenCount, published.INSTRUCTION_TOKENS),
        (record["corpora"], TokenCount, published.CORPORA),
    ):
        name, *columns = (field.name for field in dataclasses.fields(kind))
        for row in rows:
            row["paper"] = dict(zip(columns, paper.get(row[name], ()), strict=False))  # without a row there: nothing
    for row in record["instructions"]:  # of a task's sources together
        row["paper"] = {"samples_of_task": published.INSTRUCTIONS.get(row["task"], "")}
    for kind, row in record["labels"].items():
        row["paper"] = {"rare_share": published.RARE_LABELS[kind]}
    return record


def _figures(found: Statistics) -> dict[str, tuple[Figure, Axes]]:
    return {
        **({"label frequencies": _label_axes(found.labels)} if found.labels else {}),
        **({"noun phrases": frequency_axes(found.phrases)} if found.phrases else {}),
    }


def _label_axes(labels: Mapping[str, Curve]) -> tuple[Figure, Axes]:
    """Figure 12: one curve for each kind of label, on logarithmic scales."""
    figure, axes = new_axes("labels by descending frequency", "annotations")
    for kind, curve in labels.items():
        label = f"{kind}: {curve.distinct:,}, {curve.rare_share:.1%} below {RARE}"
        axes.plot(curve.ranks, curve.counts, label=label, linewidth=1.4)
    axes.set_xscale("log")
    axes.set_yscale("log")
    return figure, axes
