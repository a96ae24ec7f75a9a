"""Builds what is missing of the instruction data, then fine-tunes a pre-trained model on it (Section 3.3).

    mmgic pretrain --preset toy-all && mmgic finetune                         # the toy world
    ray job submit -- python jobs/finetune.py --preset sft-7b                 # the paper's: 32 GPUs, 5 hours on A100s
    mmgic finetune --preset sft-7b --set training.start=DIR                   # another run, or an exported model

Training starts from `training.start`, the folder of a pre-training run or of an exported model, or from model.llm if
that is empty, as for LaVIT's released language model (`mmgic vision import`). Only answers are learned. Interrupted at
any point, the same command goes on where it was. The result is a Llama folder, `<output>/training/<name>/model`.
"""

import argparse

from mmgic.cli import add_settings_flags
from mmgic.settings import Settings


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_settings_flags(parser, default="toy-sft")


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
        print(f"fine-tuned model: {run(PRETRAINING, settings).model}")
    report_on(settings)
