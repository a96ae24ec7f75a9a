"""What a Ray Train run computes, as `mmgic.training.run` is told it: one `TrainingRecipe` for each kind of run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from mmgic.errors import InputError
from mmgic.settings import RunSettings, Settings
from mmgic.training.checkpoints import newest_checkpoint
from mmgic.training.worker import Worker


@dataclass(frozen=True)
class RunResult:
    """A finished run. Its folder, an absolute path, holds settings.yaml, metrics.jsonl, tensorboard/, checkpoints,
    result.json with the fields below, and model/."""

    run_folder: str
    steps: int

    @property
    def model(self) -> Path:
        """The exported model's folder."""
        return Path(self.run_folder) / "model"

    @property
    def checkpoint(self) -> Path:
        """The newest checkpoint's folder on this machine. Raises InputError if there is none any more."""
        if not (found := newest_checkpoint(Path(self.run_folder))):
            raise InputError(f"{self.run_folder} has no checkpoint any more; remove the folder and train again")
        return found


RESULT_FILE, INPUTS_FILE = "result.json", "inputs.json"  # in a run's folder
R = TypeVar("R", bound=RunResult)


@dataclass(frozen=True)
class TrainingRecipe(Generic[R]):
    """One kind of run. Its functions raise SettingsError or InputError for what cannot be trained."""

    group: str  # its own group of the settings, a RunSettings
    compared: tuple[str, ...]  # the groups that say what is computed, beside the seed
    inputs: Callable[[Settings], dict[str, str]]  # fingerprints of what it reads, by what a person calls it
    check: Callable[[Settings], object]  # refuses unusable input before workers are started for it
    train: Callable[[Settings, Worker], dict[str, object]]  # in every worker; returns the result's own fields
    export: Callable[[Settings, RunResult, Path], None]  # writes the trained model into a new folder
    result: type[R]
    plan: Callable[[Settings], str] | None = None  # what a person wants to know before it starts

    def run_settings(self, settings: Settings) -> RunSettings:
        run: RunSettings = getattr(settings, self.group)
        return run

    def run_folder(self, settings: Settings) -> Path:
        return Path(settings.output) / "training" / self.run_settings(settings).name
