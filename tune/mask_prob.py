"""Sweeps mask_prob (Appendix E.1, Figure 11) with Ray Tune; each trial is a Ray Train run on the same token store.

    python tune/mask_prob.py                                               # toy world: 11 trials on 2 cores
    python tune/mask_prob.py --values 0 0.5 1 --set training.max_steps=50  # fewer and shorter trials
    python tune/mask_prob.py --preset mmgic-7b                             # the paper's sweep: 11 runs of 11 hours

Leaves `table.csv` and `plot.png` in `<output>/sweeps/mask_prob`: losses and scores against mask_prob. The paper finds
that CIDEr rises with mask_prob and drops at 1.0; toy numbers are noisier. Finished trials are not trained again.
"""

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmgic.cli import add_settings_flags, run_job
from mmgic.settings import Settings

PAPER_VALUES = [i / 10 for i in range(11)]


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_settings_flags(parser)
    parser.add_argument("--values", type=float, nargs="+", default=PAPER_VALUES, help="mask_prob of each trial")


def trial(config: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Trains and scores one value; "figures" are its losses and each benchmark's number.

    Ray Tune runs it as a trial, which only drives the Ray Train run that it starts.
    """
    from mmgic.evaluation.running import evaluate
    from mmgic.training.recipes.pretrain import PRETRAINING
    from mmgic.training.run import run

    os.chdir(config["folder"])  # Tune starts trials in folders of their own; the settings' paths are the driver's
    settings: Settings = config["settings"]
    settings = replace(
        settings,
        loss=replace(settings.loss, mask_prob=config["mask_prob"]),
        training=replace(settings.training, name=f"mask_prob_{config['mask_prob']:g}"),
    )
    result = run(PRETRAINING, settings)
    results = evaluate(settings, result.model, sweep_folder(settings) / settings.training.name)
    losses = {"visual_loss": result.visual_loss, "text_loss": result.text_loss}
    return {"figures": losses | results.numbers()}


def sweep_folder(settings: Settings) -> Path:
    return Path(settings.output) / "sweeps" / "mask_prob"


def concurrent_trials(settings: Settings) -> int:
    """How many trials the cluster holds at once: each needs a CPU to drive it and its training workers' own."""
    import ray

    cluster, training = ray.cluster_resources(), settings.cluster
    by_cpu = cluster.get("CPU", 0) // (1 + training.training_workers)
    gpus = training.training_workers * training.training_gpus
    return int(max(1, min(by_cpu, cluster.get("GPU", 0) // gpus) if gpus else by_cpu))


def main(settings: Settings, flags: argparse.Namespace) -> None:
    from mmgic.settings import merge

    for value in flags.values:  # a value outside [0, 1] is refused before anything starts
        merge(settings, {"loss": {"mask_prob": value}})

    from ray import tune

    from mmgic.analysis.sweep import write_sweep
    from mmgic.checks.run import refuse_problems
    from mmgic.pipelines.build import build
    from mmgic.stages.session import ray_session
    from mmgic.toy.datasets.write import ensure_world

    ensure_world(settings)
    refuse_problems(settings, ["data", "training", "evaluation"])
    with ray_session():
        build(settings)
        results = tune.Tuner(
            tune.with_resources(trial, {"cpu": 1}),
            param_space={
                "mask_prob": tune.grid_search(sorted(set(flags.values))),
                "settings": settings,
                "folder": os.getcwd(),
            },
            tune_config=tune.TuneConfig(max_concurrent_trials=concurrent_trials(settings)),
            run_config=tune.RunConfig(name="tune", storage_path=str(sweep_folder(settings).resolve()), verbose=0),
        ).fit()
    if results.errors:
        raise results.errors[0]
    rows = [{"mask_prob": result.config["mask_prob"], **result.metrics["figures"]} for result in results]
    print(write_sweep(rows, "mask_prob", sweep_folder(settings)))


if __name__ == "__main__":
    run_job(__doc__, main, add_flags)
