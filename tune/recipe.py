"""Sweeps the data recipes of Table 1 with Ray Tune; each trial is a Ray Train run on its recipe's token store.

    python tune/recipe.py --preset mmgic-7b                      # the paper's: four runs of 11 hours at most
    python tune/recipe.py --preset toy-all --values C CLDR       # toy world

Leaves `table.csv` and `plot.png` in `<output>/sweeps/recipe`. The same command goes on where it was.
"""

import argparse

from mmgic.cli import run_job
from mmgic.settings import Settings
from mmgic.training.sweep import Grid

SWEEP = Grid("recipe", "documents.recipe", ["C", "CL", "CLD", "CLDR"])


def main(settings: Settings, flags: argparse.Namespace) -> None:
    points = SWEEP.points(settings, flags.values, flags.seeds)

    from mmgic.toy.datasets.write import ensure_world
    from mmgic.training.tuning import run_sweep

    ensure_world(settings)
    print(run_sweep(SWEEP, settings, points, flags.benchmarks))


if __name__ == "__main__":
    run_job(__doc__, main, SWEEP.add_flags)
