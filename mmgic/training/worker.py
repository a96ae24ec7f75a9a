"""One worker's part of any run: how far it has come, the log of its steps, and its checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmgic.errors import InputError
from mmgic.settings import RunSettings
from mmgic.training.bad_steps import write_bad_step
from mmgic.training.checkpoints import Progress, load_progress, newest_checkpoint, place_of, save_checkpoint
from mmgic.training.metrics import Metrics, MetricsLog
from mmgic.training.standstill import StandstillWatch

LOG_FILE = "log.txt"  # what the workers say; all that libraries print in them is in Ray's logs


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
        warned: Callable[[], bool] = lambda: False,
    ) -> None:
        """`report` tells Ray Train the newest step's metrics, on all workers; `show` gets those of every step; `warned`
        says, on all workers at once, whether a node is about to go."""
        self.folder, self.device, self.rank, self.workers = folder, device, rank, workers
        self.newest = newest_checkpoint(folder)  # the checkpoint that the run goes on from
        self.progress = load_progress(self.newest) if self.newest else Progress(0, 0)
        self._settings, self._report, self._show, self._warned = settings, report, show, warned
        self._log: MetricsLog | None = None
        self._latest: dict[str, Any] = {}
        self._leaving = False
        self._writer = _BackgroundWriter()
        self._watch = StandstillWatch(folder / LOG_FILE, f"worker {rank}", 60 * settings.still_minutes)

    def begin(self, steps: int) -> int:
        """How many of the run's `steps` are made. Raises InputError if it was begun as a run of another length."""
        made = self.progress.step
        if self.newest and self.progress.steps != steps:
            raise InputError(
                f"{self.folder} was begun as a run of {self.progress.steps} steps and would now have {steps}; the "
                "documents have changed since, so choose another name for the run or remove the folder"
            )
        self._steps = steps
        if self.rank == 0:
            self._log = MetricsLog(self.folder, made, steps, self._settings.wandb)
            print(f"steps {made + 1} to {steps}, {self.workers} worker(s), {self.device.type}", flush=True)
        return made

    def log(self, metrics: Metrics) -> None:
        """Called after every step. Raises what went wrong with a checkpoint that is written beside the steps."""
        self._writer.raise_failure()
        self._watch.hear(metrics.step + 1)
        self._latest = asdict(metrics)
        if self._log:
            self._log.write(metrics)
            self._show(self._latest)

    def note_bad_step(self, step: int, problem: str, row_ids: list[int]) -> None:
        """Tells of a 0-based step that is not made, and whose documents were its batch."""
        if self.rank == 0:
            write_bad_step(self.folder, step, problem, row_ids)
            print(f"step {step + 1} is not made: {problem}", flush=True)

    def due(self, step: int) -> bool:
        """Whether a checkpoint is to be written after `step` steps, on all workers; asked after every step."""
        self._leaving = self._warned()
        if self._leaving and self.rank == 0:
            print(f"a node is about to go: a checkpoint after step {step}", flush=True)
        return self._leaving or step % self._settings.checkpoint_every == 0 or step == self._steps

    def save(
        self, step: int, parameters: Mapping[str, Tensor], moments: Mapping[str, Tensor], **more: tuple[Any, ...]
    ) -> None:
        """Writes a checkpoint after `step` steps; all workers call it at the same ones.

        The steps go on once the tensors are copied, but for the last one and if a node is about to go. `more` are
        further fields of `Progress`.
        """
        if self.rank == 0:
            trained, adam = (
                {name: tensor.detach().to("cpu", copy=True) for name, tensor in of.items()}
                for of in (parameters, moments)
            )
            place, progress = place_of(self.folder), Progress(step, self._steps, **more)
            self._writer.begin(lambda: save_checkpoint(place, progress, trained, adam, self._settings.keep_checkpoints))
            if self._leaving or step == self._steps:
                self._writer.finish()
        self._report(self._latest)

    def close(self) -> None:
        """Ends the log; a checkpoint that is being written is finished first."""
        self._watch.close()
        if self._log:
            self._log.close()
        self._writer.finish()


class _BackgroundWriter:
    """One thing at a time, written beside the steps."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._pending: Future[object] | None = None

    def begin(self, write: Callable[[], object]) -> None:
        """Raises what went wrong with the one before, which is waited for."""
        self.finish()
        self._pending = self._thread.submit(write)

    def raise_failure(self) -> None:
        if self._pending and self._pending.done():
            self.finish()

    def finish(self) -> None:
        pending, self._pending = self._pending, None
        if pending:
            pending.result()
