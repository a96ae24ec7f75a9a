"""Sweeps mask_prob (Appendix E.1, Figure 11) with Ray Tune; each trial is a Ray Train run on the same token store.

    python tune/mask_prob.py                                               # toy world: 11 trials on 2 cores
    python tune/mask_prob.py --values 0 0.5 1 --set training.max_steps=50  # fewer and shorter trials
    python tune/mask_prob.py --preset mmgic-7b                             # the paper's sweep: 11 runs of 11 hours

Leaves `table.csv` and `plot.png` in `<output>/sweeps/mask_prob`: losses and scores against mask_prob. The paper finds
that CIDEr rises with mask_prob and drops at 1.0; toy numbers are noisier. The same command goes on where it was.
"""

from functools import partial

from mmgic.cli import run_job
from mmgic.jobs import sweep
from mmgic.training.sweep import Grid

SWEEP = Grid("mask_prob", "loss.mask_prob", [i / 10 for i in range(11)])


if __name__ == "__main__":
    run_job(__doc__, partial(sweep, SWEEP), SWEEP.add_flags)
