"""Which steps are not made."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from mmgic.settings import SettingsError, TrainingSettings
from mmgic.training.bad_steps import StepGuard


def test_only_norms_far_out_of_their_history_are_refused() -> None:
    guard = StepGuard(TrainingSettings(grad_norm_limit=5.0))
    for step in range(20):
        assert guard.problem(1.0, 1e6) == "", "too short a history to judge by"
        guard.made(1.0 + step % 2)  # the median is 1.5
    assert guard.problem(1.0, 7.4) == ""
    assert guard.problem(1.0, 7.6) == "the gradient's norm is 7.6, 5 times that of the steps before"
    assert StepGuard(TrainingSettings(grad_norm_limit=0.0), [1.0] * 20).problem(1.0, 1e9) == ""
    for value in (math.inf, math.nan):
        assert guard.problem(value, 1.0) == "the loss is not finite"
        assert guard.problem(1.0, value) == "the gradient is not finite"
    for _ in range(100):
        guard.made(30.0)
    assert guard.problem(1.0, 140.0) == ""  # what is usual has changed


def test_a_run_stops_or_leaves_them_out_but_not_for_ever() -> None:
    with pytest.raises(SettingsError, match=r"^step 8 is not made because of X: .*training.on_bad_step=skip$"):
        StepGuard(TrainingSettings()).refused(7, "of X", Path("run"))
    guard = StepGuard(TrainingSettings(on_bad_step="skip"), skipped=[3, 4])
    for step in range(6, 15):
        guard.refused(step, "it is", Path("run"))
    assert (guard.skipped_since(0), guard.skipped_since(5)) == (11, 9)
    with pytest.raises(SettingsError, match="the last 10 steps were not made, step 16 because it is"):
        guard.refused(15, "it is", Path("run"))
