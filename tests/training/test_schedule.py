"""Table 10's schedule at hand-worked points."""

import pytest

from mmgic.settings import TrainingSettings
from mmgic.training.schedule import learning_rate

SETTINGS = TrainingSettings()  # peak 2e-4, warm-up 0.1, down to 0.1


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (0, 2e-5),  # a tenth of the way up
        (4, 1e-4),
        (9, 2e-4),  # the peak, after a tenth of the steps
        (54, 1.1e-4),  # half of the cosine: the mean of 2e-4 and 2e-5
        (99, 2e-5),  # a tenth of the peak
    ],
)
def test_warm_up_and_cosine(step: int, rate: float) -> None:
    assert learning_rate(step, 100, SETTINGS) == pytest.approx(rate)


@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_short_runs_end_low(steps: int) -> None:
    rates = [learning_rate(step, steps, SETTINGS) for step in range(steps)]
    assert all(0 < rate <= 2e-4 for rate in rates)
    assert rates[-1] == pytest.approx(2e-5)
