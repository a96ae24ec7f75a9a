"""Ways to do one thing, measured in turns: ours, the bare library's, ours, ..., so that a machine's moods meet all.

Import it before numpy, torch and tokenizers: it pins their threads, which they read from the environment.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from statistics import median

THREADS = 1  # of the process, for every way
ROUNDS = 5
_LIBRARIES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")

os.environ.update(dict.fromkeys(_LIBRARIES, str(THREADS)), TOKENIZERS_PARALLELISM="false")

Way = Callable[[], object]


def rates(
    amounts: Mapping[str, float],
    ways: Mapping[str, Way],
    rounds: int = ROUNDS,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, list[float]]:
    """What each way does per second of `clock`, round by round; `amounts` says how much one call of it does.

    Every round begins with another way, and what a first call alone costs is paid before the first round.
    """
    for way in ways.values():
        way()
    found: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            began = clock()
            ways[name]()
            found[name].append(amounts[name] / (clock() - began))
    return found


def print_rates(found: Mapping[str, list[float]], bare: str, unit: str) -> None:
    """Median and spread of each way, and the median of its rounds' ratios to the round of `bare`."""
    width = max(map(len, found))
    columns = (f"{unit}, median", "lowest", "highest")
    print(f"{'':<{width}}" + "".join(f"{column:>20}" for column in (*columns, "ratio, median", "lowest", "highest")))
    for name, values in found.items():
        ratios = [ours / other for ours, other in zip(values, found[bare], strict=True)]
        shown = [f"{number:,.5g}" for number in (median(values), min(values), max(values))]
        shown += [f"{number:.2f}" for number in (median(ratios), min(ratios), max(ratios))]
        print(f"{name:<{width}}" + "".join(f"{number:>20}" for number in shown), flush=True)
