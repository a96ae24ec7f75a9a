"""Steps that are not made: their loss or gradient is not finite, or the gradient is far larger than those before."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

from mmgic.settings import SettingsError, TrainingSettings

BAD_STEPS_FILE = "bad_steps.jsonl"  # in a run's folder: a line {step, problem, row_ids} for each
_REMEMBERED = 100  # norms
_FEWEST = 20  # norms that a history needs to judge by
_MOST_IN_A_ROW = 10  # steps that are left out one after the other: then it is not the batch


class StepGuard:
    """Judges each step by its loss and by the gradient norms before it, which are the same on all workers.

    Its state belongs to a checkpoint, so that a run that goes on judges as one that was never interrupted.
    """

    def __init__(self, settings: TrainingSettings, norms: Iterable[float] = (), skipped: Iterable[int] = ()) -> None:
        """`norms` of the newest steps that were made, and the 0-based steps that were `skipped`."""
        self._settings = settings
        self._norms, self._skipped = list(norms), list(skipped)

    def state(self) -> dict[str, Any]:
        """The arguments of `__init__` beside the settings."""
        return {"norms": tuple(self._norms), "skipped": tuple(self._skipped)}

    def skipped_since(self, step: int) -> int:
        return sum(skipped >= step for skipped in self._skipped)

    def problem(self, loss: float, norm: float) -> str:
        """Why a step must not be made; "" if it may."""
        for value, what in ((loss, "loss"), (norm, "gradient")):
            if not math.isfinite(value):
                return f"the {what} is not finite"
        usual = median(self._norms) if len(self._norms) >= _FEWEST else 0.0
        if usual and 0 < self._settings.grad_norm_limit < norm / usual:
            return f"the gradient's norm is {norm:.3g}, {norm / usual:.0f} times that of the steps before"
        return ""

    def made(self, norm: float) -> None:
        self._norms = [*self._norms, norm][-_REMEMBERED:]

    def refused(self, step: int, problem: str, folder: Path) -> None:
        """Notes that the 0-based `step` is not made. Raises SettingsError if the run is to stop."""
        self._skipped.append(step)
        advice = f"the records of its batch are in {folder / BAD_STEPS_FILE}; lower training.learning_rate and choose "
        advice += "another training.name"
        if self._settings.on_bad_step == "stop":
            raise SettingsError(
                f"step {step + 1} is not made because {problem}: {advice}, or go on without such steps by "
                "training.on_bad_step=skip"
            )
        if self._skipped[-_MOST_IN_A_ROW:] == list(range(step - _MOST_IN_A_ROW + 1, step + 1)):
            raise SettingsError(
                f"the last {_MOST_IN_A_ROW} steps were not made, step {step + 1} because {problem}: {advice}"
            )


def write_bad_step(folder: Path, step: int, problem: str, row_ids: list[int]) -> None:
    """Adds a step to the run's file of such steps. `row_ids` are the documents', as tables and viewer know them."""
    with (folder / BAD_STEPS_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"step": step, "problem": problem, "row_ids": row_ids}) + "\n")
