"""The curves of a tokenizer's training."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from mmgic.training.metrics import read_metrics

CURVES_FILE = "curves.png"
_CURVES = {
    "cosine": "reconstruction cosine",
    "codes_used": "share of codes in use",
    "perplexity": "codebook perplexity",
    "tokens_per_image": "tokens per image",
}


def plot_curves(folder: Path) -> Path:
    """Draws the curves of metrics.jsonl into curves.png beside it, with a line where each stage begins."""
    lines = read_metrics(folder)
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
