"""What making any of the toy world's frozen models has in common: one thread, lines on the screen, metrics.json."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from mmgic.settings.fields import Group

# the packaged folders of `mmgic/toy/weights`: what each is made with, and by which function (run, output) -> scores
MODELS = {
    "clip": ("clip:ClipRun", "clip:make_clip"),
    "clip_ranker": ("clip_ranker:RankerRun", "clip_ranker:make_clip_ranker"),
    "blip2": ("captioner:CaptionerRun", "captioner:make_blip2"),
    "llama": ("llama:LlamaRun", "llama:make_llama"),
    "tokenizer": ("tokenizer:ToyTokenizerRun", "tokenizer:make_tokenizer"),
    "pixels": ("pixels:PixelsRun", "pixels:make_pixels"),
}


def run_of(name: str) -> Group:
    """What the packaged model `name` is made with."""
    run: Group = resolve_name(f"mmgic.toy.models.{MODELS[name][0]}")()
    return run


def make_model(name: str, run: Group, output: Path, command: str) -> dict[str, Any]:
    """Trains the model `name` into the folder `output`, and returns what is also in its metrics.json: the `command`,
    the run, the seconds, and scores on what the model has not seen."""
    import torch  # the names of the models are known without it

    torch.set_num_threads(1)  # the same sums on every machine, and two small threads are no faster
    output.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    scores = resolve_name(f"mmgic.toy.models.{MODELS[name][1]}")(run, output)
    seconds = round(time.monotonic() - began)
    metrics = {"command": command, "run": asdict(run), "seconds": seconds, **scores}  # type: ignore[call-overload]
    (output / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    return metrics


class StepPrinter:
    """Prints the mean of each figure over the last `every` steps."""

    def __init__(self, every: int, steps: int, *names: str) -> None:
        self.every, self.steps, self.names = every, steps, names
        self.figures: list[tuple[float, ...]] = []
        self.began = time.monotonic()

    def __call__(self, step: int, *figures: float) -> None:
        """Called after each step, the first being 1."""
        self.figures.append(figures)
        if step % self.every == 0:
            means = ", ".join(f"{name} {mean:.3f}" for name, mean in self.means(self.every).items())
            print(f"step {step}/{self.steps}: {means}, {time.monotonic() - self.began:.0f} s", flush=True)

    def means(self, last: int = 50) -> dict[str, float]:
        """Of each figure over the last steps."""
        recent = self.figures[-last:]
        return {
            name: round(sum(f) / len(recent), 3) for name, f in zip(self.names, zip(*recent, strict=True), strict=True)
        }
