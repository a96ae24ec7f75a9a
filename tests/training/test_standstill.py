"""A worker that stands still is told of."""

from __future__ import annotations

import time
from pathlib import Path

from mmgic.training.standstill import StandstillWatch


def wait_for_a_peer_that_never_comes(log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not (log.exists() and "still" in log.read_text()):
        time.sleep(0.02)


def test_its_stack_is_in_the_log(tmp_path: Path) -> None:
    watch = StandstillWatch(log := tmp_path / "log.txt", "worker 3", 0.3)
    for step in range(10):
        time.sleep(0.05)
        watch.hear(step + 1)
    assert not log.exists(), "it was at work"
    wait_for_a_peer_that_never_comes(log)
    watch.close()
    assert "worker 3 has stood still for 0.0 min after step 10; its threads" in log.read_text()
    assert "wait_for_a_peer_that_never_comes" in log.read_text()
