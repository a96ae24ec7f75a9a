"""Sweeps the data orders of Table 2 with Ray Tune; each trial is a Ray Train run on the same token store.

    python tune/curriculum.py --preset mmgic-ic-7b --seeds 0 1 2     # the paper's: 31 hours a run and more
    python tune/curriculum.py --preset toy-all                       # toy world
    python tune/curriculum.py --values vqa mmgic+vqa "vqa -> mmgic+vqa" --seeds 0 1   # of the toy preset's corpora

Leaves `table.csv` and `plot.png` in `<output>/sweeps/curriculum`. The same command goes on where it was.
"""

import argparse

from mmgic.cli import run_job
from mmgic.settings import Settings
from mmgic.training.sweep import Grid

SWEEP = Grid(
    "curriculum",
    "training.curriculum",
    ["ic", "mmgic", "mmgic+ic", "mmgic -> ic", "ic -> mmgic", "mmgic+ic -> mmgic"],
)


def main(settings: Settings, flags: argparse.Namespace) -> None:
    points = SWEEP.points(settings, flags.values, flags.seeds)

    from mmgic.toy.datasets.write import ensure_world
    from mmgic.training.tuning import run_sweep

    ensure_world(settings)
    print(run_sweep(SWEEP, settings, points, flags.benchmarks))


if __name__ == "__main__":
    run_job(__doc__, main, SWEEP.add_flags)
