"""What tokenizer training leaves to look at: a line of figures per step, and their curves."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from mmgic.vision.learning.learner import StepFigures
from mmgic.vision.learning.pixel_learner import PixelFigures

FIGURES_FILE, CURVES_FILE = "figures.jsonl", "curves.png"
_SECONDS_BETWEEN_LINES = 10.0
_CURVES = {
    "cosine": "reconstruction cosine",
    "codes_used": "share of codes in use",
    "perplexity": "codebook perplexity",
    "tokens_per_image": "tokens per image",
}


class FiguresLog:
    """Writes every step of a run; going on from step `start` first drops what was written of it and later."""

    def __init__(self, folder: Path, start: int, steps: int) -> None:
        kept = [line for line in read_figures(folder) if line["step"] < start]
        path = folder / FIGURES_FILE
        path.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        self._file = path.open("a", encoding="utf-8", buffering=1)
        self._steps = steps
        self._printed = 0.0

    def write(self, figures: StepFigures | PixelFigures) -> None:
        self._file.write(json.dumps(asdict(figures)) + "\n")
        now = time.monotonic()
        if now - self._printed >= _SECONDS_BETWEEN_LINES or figures.step + 1 == self._steps:
            self._printed = now
            print(f"step {figures.step + 1}/{self._steps}  {figures.summary()}", flush=True)

    def close(self) -> None:
        self._file.close()


def read_figures(folder: Path) -> list[dict[str, Any]]:
    """The steps that a run has written, in order; a line that was cut off by a crash is left out."""
    path = folder / FIGURES_FILE
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


def plot_curves(folder: Path) -> Path:
    """Draws the curves of figures.jsonl into curves.png beside it, with a line where each stage begins."""
    lines = read_figures(folder)
    starts = {line["stage"]: line["step"] for line in reversed(lines)}
    quantized = starts.get("quantized", len(lines))
    figure = Figure(figsize=(10, 6), layout="constrained")
    for axes, (name, title) in zip(figure.subplots(2, 2).flat, _CURVES.items(), strict=True):
        # what there is without a codebook is not drawn as zero
        drawn = lines if name in ("cosine", "tokens_per_image") else lines[quantized:]
        axes.plot([line["step"] for line in drawn], [line[name] for line in drawn], linewidth=1)
        axes.set(title=title, xlabel="step", xlim=(0, len(lines)))
        if name == "codes_used":
            axes.set_ylim(0, 1.05)
        for start in starts.values():
            axes.axvline(start, color="grey", linestyle="--", linewidth=1)
    figure.savefig(folder / CURVES_FILE, dpi=100)
    return folder / CURVES_FILE
