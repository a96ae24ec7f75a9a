"""The mask_prob sweep from its command line: Ray Tune trials that are Ray Train runs, on the toy world."""

import csv
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["training.max_steps=3", "toy.scenes=24", "evaluation.max_images=8"]


def test_two_trials_leave_a_table_and_a_plot(tmp_path: Path) -> None:
    settings = [f"output={tmp_path}", *SMALL]
    command = [sys.executable, str(ROOT / "tune/mask_prob.py"), "--preset", "toy-test", "--values", "0", "1"]
    for setting in settings:
        command += ["--set", setting]
    result = subprocess.run(command, capture_output=True, text=True, timeout=420)
    assert result.returncode == 0, result.stderr[-2000:]

    folder = tmp_path / "sweeps" / "mask_prob"
    with (folder / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["mask_prob"]) for row in rows] == [0, 1]
    assert all(float(row["text_loss"]) > 0 for row in rows)
    assert list(rows[0])[3:] == ["COCO captions CIDEr (x100)", "POPE F1 (%)"]
    assert all(float(row["COCO captions CIDEr (x100)"]) > 0 for row in rows)
    assert (folder / "plot.png").stat().st_size > 1000


def test_a_value_outside_the_range_is_refused_before_ray_starts() -> None:
    command = [sys.executable, str(ROOT / "tune/mask_prob.py"), "--values", "0.5", "1.5"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 2
    assert result.stderr.strip() == "error: 'loss.mask_prob' is 1.5; it must lie between 0 and 1"
