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
from mmgic.jobs.pretrain import main

__all__ = ["add_flags", "main"]  # the work is that of pre-training, from another start


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_settings_flags(parser, default="toy-sft")
