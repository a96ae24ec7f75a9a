"""Builds what is missing of the data, then pre-trains on it with Ray Train and DeepSpeed, and exports a plain Llama.

    mmgic pretrain                                                 # the toy world, about 4 minutes on 2 cores
    ray job submit -- python jobs/pretrain.py --preset mmgic-7b    # the paper's run: 32 GPUs, 11 hours on A100s

Without a cluster it starts one on this machine. Interrupted at any point, the same command goes on where it was. The
result is a Llama folder, `<output>/training/<name>/model`, that Transformers and vLLM load.
"""

import argparse

from mmgic.settings import Settings


def main(settings: Settings, flags: argparse.Namespace) -> None:
    from mmgic.analysis.report import report_on
    from mmgic.checks.run import refuse_problems
    from mmgic.pipelines.build import build
    from mmgic.stages.session import ray_session
    from mmgic.toy.datasets.write import ensure_world
    from mmgic.training.recipes.pretrain import PRETRAINING
    from mmgic.training.run import run

    ensure_world(settings)
    refuse_problems(settings, ["data", "training"])
    with ray_session():
        build(settings)
        print(f"trained model: {run(PRETRAINING, settings).model}")
    report_on(settings)
