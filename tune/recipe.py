"""Sweeps the data recipes of Table 1 with Ray Tune; each trial is a Ray Train run on its recipe's token store.

    python tune/recipe.py --preset mmgic-7b                      # the paper's: four runs of 11 hours at most
    python tune/recipe.py --preset toy-all --values C CLDR       # toy world

Leaves `table.csv` and `plot.png` in `<output>/sweeps/recipe`. The same command goes on where it was.
"""

from functools import partial

from mmgic.cli import run_job
from mmgic.jobs import sweep
from mmgic.training.sweep import Grid

SWEEP = Grid("recipe", "documents.recipe", ["C", "CL", "CLD", "CLDR"])


if __name__ == "__main__":
    run_job(__doc__, partial(sweep, SWEEP), SWEEP.add_flags)
