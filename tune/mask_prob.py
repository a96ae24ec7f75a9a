"""Sweeps mask_prob (Appendix E.1, Figure 11) with Ray Tune; each trial is a Ray Train run on the same token store.

    python tune/mask_prob.py                                               # toy world: 11 trials on 2 cores
    python tune/mask_prob.py --values 0 0.5 1 --set training.max_steps=50  # fewer and shorter trials
    python tune/mask_prob.py --preset mmgic-7b                             # the paper's sweep: 11 runs of 11 hours

Leaves `table.csv` and `plot.png` in `<output>/sweeps/mask_prob`: losses and scores against mask_prob. The paper finds
that CIDEr rises with mask_prob and drops at 1.0; toy numbers are noisier. The same command goes on where it was.
"""

import argparse

from mmgic.cli import run_job
from mmgic.settings import Settings
from mmgic.training.sweep import Grid

SWEEP = Grid("mask_prob", "loss.mask_prob", [i / 10 for i in range(11)])


def main(settings: Settings, flags: argparse.Namespace) -> None:
    points = SWEEP.points(settings, flags.values, flags.seeds)

    from mmgic.toy.datasets.write import ensure_world
    from mmgic.training.tuning import run_sweep

    ensure_world(settings)
    print(run_sweep(SWEEP, settings, points, flags.benchmarks))


if __name__ == "__main__":
    run_job(__doc__, main, SWEEP.add_flags)
