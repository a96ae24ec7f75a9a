"""What a training run leaves for people to look at: metrics.jsonl, TensorBoard events, a line on the screen, and on
request a run in Weights & Biases."""

from __future__ import annotations

import hashlib
import json
import math
import time
from dataclasses import asdict
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Protocol

import yaml
from torch.utils.tensorboard import SummaryWriter

from mmgic.files import read_text, write_text
from mmgic.settings import SettingsError
from mmgic.stages.progress import short_duration

METRICS_FILE, SETTINGS_FILE = "metrics.jsonl", "settings.yaml"  # in a run's folder
_SECONDS_BETWEEN_LINES = 5.0


class Metrics(Protocol):
    """A data class of one step's figures."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def step(self) -> int:
        """0-based."""

    def summary(self) -> str:
        """The figures that a person watches, in one line."""


class MetricsLog:
    """Writes every step of a run; going on from step `start` first drops what was written of it and later."""

    def __init__(self, run_folder: Path, start: int, steps: int, wandb_project: str = "") -> None:
        path = run_folder / METRICS_FILE
        kept = [line for line in read_metrics(run_folder) if line["step"] < start]
        write_text(str(path), "".join(json.dumps(line) + "\n" for line in kept))
        self._file = path.open("a", encoding="utf-8", buffering=1)
        self._events = SummaryWriter(str(run_folder / "tensorboard"), purge_step=start)
        self._wandb = _wandb_run(run_folder, wandb_project) if wandb_project else None
        self._steps, self._start = steps, start
        self._started, self._printed = time.monotonic(), 0.0

    def write(self, metrics: Metrics) -> None:
        values = asdict(metrics)
        for name, value in values.items():
            if isinstance(value, float) and not math.isfinite(value):
                values[name] = None  # JSON knows no such number
        self._file.write(json.dumps(values) + "\n")
        for name, value in values.items():
            if name != "step" and isinstance(value, (int, float)):
                self._events.add_scalar(f"training/{name}", value, metrics.step)
        if self._wandb:
            self._wandb.log(values, step=metrics.step)
        now = time.monotonic()
        if now - self._printed >= _SECONDS_BETWEEN_LINES or metrics.step + 1 == self._steps:
            self._printed = now
            made = metrics.step + 1
            left = short_duration((self._steps - made) * (now - self._started) / (made - self._start))
            print(f"step {made:>{len(str(self._steps))}}/{self._steps}  {metrics.summary()}  {left} left", flush=True)

    def close(self) -> None:
        self._file.close()
        self._events.close()
        if self._wandb:
            self._wandb.finish()


def check_wandb(project: str) -> None:
    """Raises SettingsError if a `project` is named and the library is not there."""
    if project and find_spec("wandb") is None:
        raise SettingsError(
            f"'wandb' is {project}, but Weights & Biases' library is not installed; pip install 'mmgic[loggers]', or "
            "leave it empty"
        )


def _wandb_run(run_folder: Path, project: str) -> Any:
    """The run of this folder, which goes on if there is one; the environment says whether and as whom it is sent."""
    wandb = import_module("wandb")
    name = f"{run_folder.parents[1].name}/{run_folder.name}"
    own = hashlib.sha256(str(run_folder).encode()).hexdigest()[:16]
    config = yaml.safe_load(read_text(str(run_folder / SETTINGS_FILE)) or "{}")
    return wandb.init(project=project, name=name, id=own, resume="allow", dir=str(run_folder), config=config)


def read_metrics(run_folder: Path) -> list[dict[str, Any]]:
    """The steps that a run has written, in order; a line that was cut off by a crash is left out."""
    path = run_folder / METRICS_FILE
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1]]
