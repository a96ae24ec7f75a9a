"""Scores an exported model on the benchmarks of the settings, and prints the scores.

    mmgic evaluate --model output/toy/training/pretrain/model     # toy world: half a minute
    mmgic evaluate --model DIR --control other_image              # shown another image each time
    mmgic evaluate --model DIR --benchmarks pope                  # not all that the settings name
    mmgic evaluate --preset mmgic-7b --model DIR                  # one GPU with vLLM

Predictions in the benchmarks' own formats, scores.json, items.jsonl and settings.yaml go to --to, by default
<output>/evaluation/<name of the model's folder>. `mmgic score` scores those prediction files, or any tool's, again.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from mmgic.cli import add_settings_flags
from mmgic.settings import Settings

T = TypeVar("T")


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, type=Path, metavar="DIR", help="folder of an exported model")
    parser.add_argument("--control", choices=["other_image"], help="show the model another image's visual tokens")
    parser.add_argument("--benchmarks", nargs="+", metavar="NAME", help="of the settings' benchmarks these alone")
    parser.add_argument("--to", type=Path, metavar="DIR", help="where the scores and predictions go")
    add_settings_flags(parser)


def with_evaluation_gpus(settings: Settings, log: Path, work: Callable[..., T], *arguments: object) -> T:
    """What `work` returns, done by a process to which Ray gives `cluster.evaluation_gpus`, whose lines go through the
    file `log`; without any, by this one."""
    from mmgic.stages.session import ray_session
    from mmgic.stages.task import in_task

    if not settings.cluster.evaluation_gpus:
        return work(*arguments)
    with ray_session():
        return in_task(work, *arguments, log=log, gpus=settings.cluster.evaluation_gpus)


def main(settings: Settings, flags: argparse.Namespace) -> None:
    from mmgic.checks.run import refuse_problems
    from mmgic.evaluation.cli import scores_text
    from mmgic.evaluation.items import only
    from mmgic.evaluation.running import evaluate

    folder = flags.to or Path(settings.output) / "evaluation" / (flags.control or flags.model.name)
    if flags.benchmarks:
        settings = only(settings, flags.benchmarks)
    refuse_problems(settings, ["evaluation"])
    log = folder / "log.txt"
    results = with_evaluation_gpus(settings, log, evaluate, settings, flags.model, folder, flags.control)
    print("\n\n".join(map(scores_text, results.benchmarks)))
    print(f"captions were asked for in the form of {results.prompt}; scores and predictions: {folder}")
