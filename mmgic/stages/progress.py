"""How far long work is: a tally that a stage's workers add to, and the line that a person watches."""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LOG_SECONDS = 10  # between the lines of a log
FOLLOW_SECONDS = 0.3  # between looks at a log that others write


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
    name: str,
    total: int | None,
    done: Callable[[], int],
    watch: Callable[[int, float], None] = lambda done, rate: None,
    unit: str = "rows",
) -> Iterator[None]:
    """Shows `done()` of `total` (None: not known), their rate and the time left: one moving line on standard error; in
    a log a line every 10 s.

    `watch` is called with the number and the rate every second.
    """
    started = time.monotonic()

    def show(stop: threading.Event) -> None:
        live = sys.stderr.isatty()
        for second in itertools.count(1):
            if stop.wait(1):
                break
            number = done()
            rate = number / (time.monotonic() - started)
            watch(number, rate)
            if not live and second % LOG_SECONDS:
                continue
            text = f"{name}: {state(number, total, rate, unit)}"
            print(f"\r\033[K{text}" if live else text, end="" if live else "\n", file=sys.stderr, flush=True)
        if live:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    with _beside(show):
        yield


@contextmanager
def _beside(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Runs `work` in a thread, which returns soon after the event that it is given."""
    stop = threading.Event()
    thread = threading.Thread(target=work, args=(stop,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def counted(name: str, total: int | None, unit: str) -> Iterator[Callable[[int], None]]:
    """A `progress_line` of work in this process: yields a function to call with the number of units just done."""
    done = 0

    def add(number: int) -> None:
        nonlocal done
        done += number

    with progress_line(name, total, lambda: done, unit=unit):
        yield add


@contextmanager
def followed(path: Path) -> Iterator[None]:
    """Prints the lines that other processes add to a log file, as they come."""
    start = path.stat().st_size if path.exists() else 0
    shown = sys.stdout  # work in this process may send its own elsewhere

    def show(stop: threading.Event) -> None:
        position, ended = start, False
        while not ended:
            ended = stop.wait(FOLLOW_SECONDS)  # and once more, for what came last
            if path.exists():
                with path.open("rb") as file:
                    file.seek(position)
                    lines = file.read().rpartition(b"\n")[:2]
                position += len(lines[0]) + len(lines[1])
                print(b"".join(lines).decode(errors="replace"), end="", file=shown, flush=True)

    with _beside(show):
        yield


def state(done: int, total: int | None, rate: float, unit: str) -> str:
    """Such as "300 of 1,200 rows, 20 rows/s, 45 s left"."""
    speed = f"{rate:,.0f} {unit}/s" if rate >= 10 or not rate else f"{rate:.2g} {unit}/s"
    if total is None:
        return f"{done:,} {unit}, {speed}"
    left = f", {short_duration((total - done) / rate)} left" if 0 < done < total else ""
    return f"{done:,} of {total:,} {unit}, {speed}{left}"


def short_duration(seconds: float) -> str:
    """Such as "45 s", "12 min" or "3 h 20 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
