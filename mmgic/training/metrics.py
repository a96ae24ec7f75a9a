"""What a training run leaves for people to look at: metrics.jsonl, TensorBoard events, and a line on the screen."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from mmgic.training.loop import StepMetrics

METRICS_FILE = "metrics.jsonl"
_SECONDS_BETWEEN_LINES = 5.0


class MetricsLog:
    """Writes every step of a run; going on from step `start` first drops what was written of it and later."""

    def __init__(self, run_folder: Path, start: int, steps: int) -> None:
        path = run_folder / METRICS_FILE
        kept = [line for line in read_metrics(run_folder) if line["step"] < start]
        path.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        self._file = path.open("a", encoding="utf-8", buffering=1)
        self._events = SummaryWriter(str(run_folder / "tensorboard"), purge_step=start)
        self._steps = steps
        self._printed = 0.0

    def write(self, metrics: StepMetrics) -> None:
        values = {**asdict(metrics), "tokens_per_second": round(metrics.tokens_per_second, 1)}
        self._file.write(json.dumps(values) + "\n")
        for name, value in values.items():
            if name != "step":
                self._events.add_scalar(f"training/{name}", value, metrics.step)
        now = time.monotonic()
        if now - self._printed >= _SECONDS_BETWEEN_LINES or metrics.step + 1 == self._steps:
            self._printed = now
            print(_line(metrics, self._steps), flush=True)

    def close(self) -> None:
        self._file.close()
        self._events.close()


def read_metrics(run_folder: Path) -> list[dict[str, float]]:
    """The steps that a run has written, in order; a line that was cut off by a crash is left out."""
    path = run_folder / METRICS_FILE
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1]]


def _line(metrics: StepMetrics, steps: int) -> str:
    return (
        f"step {metrics.step + 1:>{len(str(steps))}}/{steps}  L {metrics.loss:.3f}  L_V {metrics.visual_loss:.3f}  "
        f"L_T {metrics.text_loss:.3f}  lr {metrics.learning_rate:.1e}  |g| {metrics.grad_norm:.2f}  "
        f"{metrics.tokens_per_second:,.0f} tokens/s  waiting for data {metrics.data_wait:.0%}"
    )
