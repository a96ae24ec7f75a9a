"""Pictures for the report, as text that an HTML page holds: SVG curves and data URIs of images."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmgic.images import read_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREY = "#8a8f98"  # readable on light and on dark pages
MAX_EDGE = 480  # pixels of an embedded image


def curves(steps: Sequence[Mapping[str, float]], series: Mapping[str, str], label: str) -> str:
    """An SVG drawing of `steps` over their "step": one line for each key of `series`, named by its value."""
    figure, axes = new_axes("step", label)
    x = [step["step"] + 1 for step in steps]
    for key, name in series.items():
        axes.plot(x, [step[key] for step in steps], label=name, linewidth=1.4)
    return svg(figure, axes, label)


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
    if len(axes.lines) > 1:
        axes.legend(frameon=False, labelcolor=GREY)
    text = io.StringIO()
    # without a date and random ids the same run gives the same page
    with rc_context({"svg.hashsalt": name}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    drawn = text.getvalue()
    return drawn[drawn.index("<svg") :]


def image_uri(path: str | Path) -> tuple[str, int, int]:
    """(data URI, width, height) of an image, made smaller if an edge exceeds MAX_EDGE. Raises ImageError."""
    image = read_image(path)
    image.thumbnail((MAX_EDGE, MAX_EDGE))
    data = io.BytesIO()
    image.save(data, "PNG" if max(image.size) <= 128 else "JPEG", quality=88)
    kind = "png" if max(image.size) <= 128 else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data.getvalue()).decode()}", image.width, image.height
