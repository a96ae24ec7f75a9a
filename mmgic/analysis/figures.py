"""Pictures for the report, as text that an HTML page holds: SVG curves and data URIs of images."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmgic.images import read_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL import Image

GREY = "#8a8f98"  # readable on light and on dark pages
MAX_EDGE = 480  # pixels of an embedded image


def curves(
    steps: Sequence[Mapping[str, Any]],
    series: Mapping[str, str],
    label: str,
    stages: Mapping[int, str] | None = None,
    *,
    smooth: bool = True,
) -> str:
    """An SVG drawing of `steps` over their "step": one line for each key of `series`, named by its value.

    With `smooth` lines are smoothed, over the pale lines of the values themselves. `stages` names the stage that begins
    at a 0-based step; each is marked by an upright line.
    """
    figure, axes = new_axes("step", label)
    x = [step["step"] + 1 for step in steps]
    for key, name in series.items():
        values = [step[key] for step in steps]
        [line] = axes.plot(x, smoothed(values) if smooth else values, label=name, linewidth=1.4)
        if smooth:
            axes.plot(x, values, color=line.get_color(), alpha=0.25, linewidth=0.8, zorder=1)
    for start, name in (stages or {}).items():
        axes.axvline(start + 1, color=GREY, linestyle="--", linewidth=0.8)
        at_top = axes.get_xaxis_transform()
        axes.annotate(name, (start + 1, 1), xycoords=at_top, xytext=(3, -8), textcoords="offset points", color=GREY)
    return svg(figure, axes, label)


def smoothed(values: Sequence[float]) -> np.ndarray:
    """Means over a window of a fiftieth of all values around each one; fewer at the ends."""
    array, half = np.asarray(values, np.float64), len(values) // 100
    sums = np.concatenate([[0.0], array.cumsum()])
    first = np.maximum(np.arange(len(array)) - half, 0)
    last = np.minimum(np.arange(len(array)) + half + 1, len(array))
    return (sums[last] - sums[first]) / (last - first)


def new_axes(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    """An empty drawing of the report's size."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 2.9), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x_label, color=GREY)
    axes.set_ylabel(y_label, color=GREY)
    return figure, axes


def svg(figure: Figure, axes: Axes, name: str) -> str:
    """The drawing as SVG text in the report's colours, with a legend if it has several lines; `name` seeds its ids."""
    from matplotlib import rc_context

    axes.tick_params(which="both", colors=GREY)
    axes.grid(color=GREY, alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["bottom", "left"]].set_color(GREY)
    if len(axes.get_legend_handles_labels()[1]) > 1:
        axes.legend(frameon=False, labelcolor=GREY)
    text = io.StringIO()
    # without a date and random ids the same run gives the same page
    with rc_context({"svg.hashsalt": name}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    drawn = text.getvalue()
    return drawn[drawn.index("<svg") :]


def image_uri(path: str | Path) -> tuple[str, int, int]:
    """`picture_uri` of an image file. Raises ImageError."""
    return picture_uri(read_image(path))


def picture_uri(image: Image.Image) -> tuple[str, int, int]:
    """(data URI, width, height) of an image, which is made smaller if an edge exceeds MAX_EDGE."""
    image.thumbnail((MAX_EDGE, MAX_EDGE))
    data = io.BytesIO()
    image.save(data, "PNG" if max(image.size) <= 128 else "JPEG", quality=88)
    kind = "png" if max(image.size) <= 128 else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data.getvalue()).decode()}", image.width, image.height
