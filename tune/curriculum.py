"""Sweeps the data orders of Table 2 with Ray Tune; each trial is a Ray Train run on the same token store.

    python tune/curriculum.py --preset mmgic-ic-7b --seeds 0 1 2     # the paper's: 31 hours a run and more
    python tune/curriculum.py --preset toy-all                       # toy world
    python tune/curriculum.py --values vqa mmgic+vqa "vqa -> mmgic+vqa" --seeds 0 1   # of the toy preset's corpora

Leaves `table.csv` and `plot.png` in `<output>/sweeps/curriculum`. The same command goes on where it was.
"""

from functools import partial

from mmgic.cli import run_job
from mmgic.jobs import sweep
from mmgic.training.sweep import Grid

SWEEP = Grid(
    "curriculum",
    "training.curriculum",
    ["ic", "mmgic", "mmgic+ic", "mmgic -> ic", "ic -> mmgic", "mmgic+ic -> mmgic"],
)


if __name__ == "__main__":
    run_job(__doc__, partial(sweep, SWEEP), SWEEP.add_flags)
