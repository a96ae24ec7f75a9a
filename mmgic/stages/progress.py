"""How far a stage is: a tally that its workers add to, and the line that a person watches."""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

LOG_SECONDS = 10  # between the lines of a log


class Tally:
    """What the workers of one stage have done so far."""

    def __init__(self, most_errors: float) -> None:
        self._most_errors = most_errors
        self._batches: dict[int, tuple[int, int]] = {}  # by the first row's id: a batch done twice counts once
        self._rows = self._errors = 0
        self._problem = ""

    def add(self, first_id: int, rows: int, errors: int) -> bool:
        """Counts a batch. False once more rows are errors than the whole stage may have."""
        old_rows, old_errors = self._batches.get(first_id, (0, 0))
        self._batches[first_id] = (rows, errors)
        self._rows += rows - old_rows
        self._errors += errors - old_errors
        return self._errors <= self._most_errors

    def fail(self, problem: str) -> None:
        """Keeps the first sentence that says why the stage cannot go on."""
        self._problem = self._problem or problem

    def problem(self) -> str:
        return self._problem

    def rows(self) -> int:
        return self._rows


class Tallies:
    """The tallies of a driver's stages, by the key of each run."""

    def __init__(self) -> None:
        self._tallies: dict[str, Tally] = {}

    def call(self, run: str, most_errors: float, method: str, *arguments: Any) -> Any:
        """What `method` of a run's tally returns. A tally begins with its first call, also after a restart."""
        return getattr(self._tallies.setdefault(run, Tally(most_errors)), method)(*arguments)


@contextmanager
def progress_line(
    name: str, total: int | None, done: Callable[[], int], watch: Callable[[int, float], None] = lambda rows, rate: None
) -> Iterator[None]:
    """Shows `done()` of `total` rows (None: not known) and their rate: one moving line; in a log a line every 10 s.

    `watch` is called with both numbers every second.
    """
    stop = threading.Event()
    started = time.monotonic()

    def show() -> None:
        live = sys.stdout.isatty()
        for second in itertools.count(1):
            if stop.wait(1):
                break
            rows = done()
            speed = rows / (time.monotonic() - started)
            watch(rows, speed)
            if not live and second % LOG_SECONDS:
                continue
            text = f"{name}: {rows:,}{f' of {total:,}' if total is not None else ''} rows, {speed:,.0f} rows/s"
            print(f"\r\033[K{text}" if live else text, end="" if live else "\n", flush=True)
        if live:
            print("\r\033[K", end="", flush=True)

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
