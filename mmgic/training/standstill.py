"""Tells of a worker that stands still, with what each of its threads is doing."""

from __future__ import annotations

import faulthandler
import threading
import time
from pathlib import Path

_LOOKS = 20  # in the time that is allowed


class StandstillWatch:
    """Writes a sentence and the stacks of all threads into `log` once nothing has been heard for `seconds`, and again
    after as long. Nothing is stopped: what others wait for may still come."""

    def __init__(self, log: Path, name: str, seconds: float) -> None:
        self._log, self._name, self._seconds = log, name, seconds
        self._heard, self._step = time.monotonic(), 0
        self._stop = threading.Event()
        if seconds:
            threading.Thread(target=self._watch, daemon=True).start()

    def hear(self, step: int) -> None:
        """The worker has made `step` steps."""
        self._heard, self._step = time.monotonic(), step

    def close(self) -> None:
        self._stop.set()

    def _watch(self) -> None:
        while not self._stop.wait(self._seconds / _LOOKS):
            still = time.monotonic() - self._heard
            if still < self._seconds:
                continue
            self._heard += still
            with self._log.open("a", encoding="utf-8") as log:
                print(
                    f"{self._name} has stood still for {still / 60:.1f} min after step {self._step}; its threads, "
                    "innermost call first:",
                    file=log,
                    flush=True,
                )
                faulthandler.dump_traceback(log)
