"""One worker's part of any run: how far it has come, the log of its steps, and its checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmgic.errors import InputError
from mmgic.settings import RunSettings
from mmgic.training.checkpoints import Progress, checkpoints, load_progress, save_checkpoint
from mmgic.training.metrics import Metrics, MetricsLog


class Worker:
    """What a recipe is given in each worker. Only worker 0 writes."""

    def __init__(
        self,
        folder: Path,
        settings: RunSettings,
        device: torch.device,
        rank: int,
        workers: int,
        report: Callable[[dict[str, Any]], None],
        show: Callable[[Mapping[str, Any]], None],
    ) -> None:
        """`report` tells Ray Train the newest step's metrics, on all workers; `show` gets those of every step."""
        self.folder, self.device, self.rank, self.workers = folder, device, rank, workers
        # the checkpoint that the run goes on from
        self.newest: Path | None = next(iter(checkpoints(folder)[-1:]), None)
        self._settings, self._report, self._show = settings, report, show
        self._log: MetricsLog | None = None
        self._latest: dict[str, Any] = {}

    def begin(self, steps: int) -> int:
        """How many of the run's `steps` are made. Raises InputError if it was begun as a run of another length."""
        made = 0
        if self.newest:
            progress = load_progress(self.newest)
            if progress.steps != steps:
                raise InputError(
                    f"{self.folder} was begun as a run of {progress.steps} steps and would now have {steps}; the "
                    "documents have changed since, so choose another name for the run or remove the folder"
                )
            made = progress.step
        self._steps = steps
        if self.rank == 0:
            self._log = MetricsLog(self.folder, made, steps)
            print(f"steps {made + 1} to {steps}, {self.workers} worker(s), {self.device.type}", flush=True)
        return made

    def log(self, metrics: Metrics) -> None:
        """Called after every step."""
        self._latest = asdict(metrics)
        if self._log:
            self._log.write(metrics)
            self._show(self._latest)

    def save(self, step: int, parameters: Mapping[str, Tensor], moments: Mapping[str, Tensor]) -> None:
        """Writes a checkpoint after `step` steps; all workers call it at the same ones."""
        if self.rank == 0:
            save_checkpoint(
                self.folder, Progress(step, self._steps), parameters, moments, self._settings.keep_checkpoints
            )
        self._report(self._latest)

    def close(self) -> None:
        if self._log:
            self._log.close()
