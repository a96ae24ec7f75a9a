"""The jobs: each module is `mmgic <its name>`, and a script of jobs/ for `ray job submit`.

A module holds its description, `main(settings, flags)`, and `add_flags(parser)` if it takes more than the flags of
settings. It says what is done and in which order; the work is the library's.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from mmgic.settings import Settings

if TYPE_CHECKING:
    from mmgic.training.sweep import Grid


def sweep(grid: Grid, settings: Settings, flags: argparse.Namespace) -> None:
    """What each script in `tune/` does; `flags` are those of `grid.add_flags`. Values are checked before Ray is
    imported."""
    points = grid.points(settings, flags.values, flags.seeds)

    from mmgic.toy.datasets.write import ensure_world
    from mmgic.training.tuning import run_sweep

    ensure_world(settings)
    print(run_sweep(grid, settings, points, flags.benchmarks))
