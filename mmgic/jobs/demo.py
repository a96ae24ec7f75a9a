"""All of it on the toy world: annotations, documents, visual tokens, pre-training, export, scores and a report.

    make demo                                                # minutes on 2 cores (see the README), under 8 GB of memory
    mmgic demo --set output=/tmp/mine --set seed=1

Ends with a table of documents, tokens, losses and scores beside two controls (the untrained model, and the trained
model given another image's visual tokens), and the path of an HTML report. Interrupted, the same command goes on.
"""

import argparse
from pathlib import Path

from mmgic.settings import Settings

BENCHMARKS = ("coco_captions", "pope")  # whose scores fit into the demo's time


def main(settings: Settings, flags: argparse.Namespace) -> None:
    from mmgic.analysis.report import report_on
    from mmgic.analysis.summary import summary_table
    from mmgic.checks.run import refuse_problems
    from mmgic.evaluation.controls import score_with_controls
    from mmgic.evaluation.items import only
    from mmgic.jobs.evaluate import with_evaluation_gpus
    from mmgic.pipelines.build import build
    from mmgic.stages.session import ray_session
    from mmgic.toy.datasets.write import ensure_world
    from mmgic.training.recipes.pretrain import PRETRAINING
    from mmgic.training.run import run

    settings = only(settings, BENCHMARKS)  # `mmgic evaluate` has the others
    ensure_world(settings)
    refuse_problems(settings, ["data", "training", "evaluation"])
    with ray_session():
        build(settings)
        model = run(PRETRAINING, settings).model
        log = Path(settings.output) / "evaluation" / "log.txt"
        with_evaluation_gpus(settings, log, score_with_controls, settings, model)
    print(summary_table(Path(settings.output), settings))
    report_on(settings)
