"""What a person reads while long work goes on."""

import time
from pathlib import Path

import pytest

from mmgic.stages import progress
from mmgic.stages.progress import counted, followed, short_duration, state


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (600, "10 min"), (5400, "1 h 30 min"), (86_400, "24 h 0 min")],
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert short_duration(seconds) == text


@pytest.mark.parametrize(
    ("done", "total", "rate", "text"),
    [
        (300, 1200, 20, "300 of 1,200 rows, 20 rows/s, 45 s left"),
        (3, 10, 0.05, "3 of 10 rows, 0.05 rows/s, 2 min left"),
        (0, 10, 0, "0 of 10 rows, 0 rows/s"),  # nothing is known yet
        (10, 10, 5, "10 of 10 rows, 5 rows/s"),
        (12, 10, 5, "12 of 10 rows, 5 rows/s"),  # what a resumed stage had done before may count again
        (7000, None, 700, "7,000 rows, 700 rows/s"),
    ],
)
def test_a_line_says_how_much_is_left(done: int, total: int | None, rate: float, text: str) -> None:
    assert state(done, total, rate, "rows") == text


def test_a_log_gets_a_line_now_and_then_and_results_stay_apart(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "LOG_SECONDS", 1)
    with counted("answers", 4, "items") as advance:
        advance(1)
        advance(1)
        time.sleep(1.3)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("answers: 2 of 4 items, ")
    assert err.endswith(" left\n")


def test_short_work_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with counted("answers", 4, "items") as advance:
        advance(4)
    assert capsys.readouterr() == ("", "")


def test_a_log_of_other_processes_is_shown_from_now_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log.txt"
    log.write_text("of an earlier start\n")
    with followed(log), log.open("a") as file:
        file.write("step 1\nste")
        file.flush()
        time.sleep(0.7)
        assert capsys.readouterr().out == "step 1\n"
        file.write("p 2\n")
    assert capsys.readouterr().out == "step 2\n"


def test_a_log_may_come_later(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with followed(tmp_path / "log.txt"):
        (tmp_path / "log.txt").write_text("step 1\n")
    assert capsys.readouterr().out == "step 1\n"
