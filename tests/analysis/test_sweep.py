"""A sweep's table and its best run, worked by hand."""

import csv
from pathlib import Path

import pytest

from mmgic.analysis.sweep import Trial, write_sweep
from mmgic.presets import preset
from mmgic.settings import SettingsError
from mmgic.training.sweep import Grid


def test_means_deviations_and_the_best_run(tmp_path: Path) -> None:
    scores = {("ic", 0): 10.0, ("ic", 1): 14.0, ("mmgic -> ic", 0): 16.0, ("mmgic -> ic", 1): 10.0}
    trials = [Trial(v, s, {"text_loss": 1.0, "CIDEr": score}, f"/runs/{v}_{s}") for (v, s), score in scores.items()]
    text = write_sweep(trials, "curriculum", "CIDEr", tmp_path)
    assert "12 ± 2.8" in text  # (10 + 14) / 2; the root of (2^2 + 2^2) / 1
    assert "13 ± 4.2" in text
    assert text.endswith("best by CIDEr: curriculum mmgic -> ic, /runs/mmgic -> ic_0")
    with (tmp_path / "table.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["curriculum", "seed", "text_loss", "CIDEr", "run"]
    assert rows[2] == ["ic", "1", "1.0", "14.0", "/runs/ic_1"]
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_each_value_meets_each_seed_in_a_run_of_its_own_name() -> None:
    sweep = Grid("curriculum", "training.curriculum", ["ic"])
    points = sweep.points(preset("toy"), ["mmgic+ic -> mmgic", "2*mmgic", "ic[1.5K]"], [1, 2])
    found = [(point.settings.training.curriculum, point.settings.seed) for point in points[:2]]
    assert found == [("mmgic+ic -> mmgic", 1), ("mmgic+ic -> mmgic", 2)]
    assert [p.settings.training.name for p in points[::2]] == [
        "curriculum_mmgic_and_ic_to_mmgic_seed_1",
        "curriculum_2_x_mmgic_seed_1",
        "curriculum_ic_1.5K_seed_1",
    ]
    with pytest.raises(SettingsError, match="cannot be read from character 1"):
        sweep.points(preset("toy"), ["mmgic ic"], None)
