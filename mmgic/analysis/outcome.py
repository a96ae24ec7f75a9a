"""What came out of a run: how long it took, where things lie, and what to do with them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmgic.analysis.figures import curves
from mmgic.analysis.summary import RunSummary
from mmgic.settings import Settings
from mmgic.training.metrics import read_metrics

Step = Mapping[str, Any]


@dataclass(frozen=True)
class NextStep:
    purpose: str
    command: str


@dataclass(frozen=True)
class OtherRun:
    """A training run in the folder that is not the language model's, such as a visual tokenizer's."""

    name: str
    steps: int
    charts: list[str]  # SVG


def model_folder(folder: Path, settings: Settings) -> Path | None:
    """The exported model of the run, if there is one."""
    model = folder / "training" / settings.training.name / "model"
    return model if (model / "config.json").is_file() else None


def facts(folder: Path, settings: Settings, summary: RunSummary) -> dict[str, str]:
    """Durations and places, by what a person calls them."""
    found = {"folder": str(folder.resolve())}
    if summary.tables:
        found["data stages"] = duration(sum(table.manifest.seconds for table in summary.tables))
    if summary.steps:
        cluster = settings.cluster
        workers = f"{max(1, cluster.training_workers)} worker(s)"
        gpus = f" with {cluster.training_gpus:g} GPU(s) each" if cluster.training_gpus else " without GPUs"
        found["training"] = f"{duration(sum(step['seconds'] for step in summary.steps))} on {workers}{gpus}"
        found["curriculum"] = settings.training.curriculum
    if model := model_folder(folder, settings):
        found["model"] = str(model.resolve())
    return found


def next_steps(folder: Path, settings: Settings) -> list[NextStep]:
    """Commands that go on from here, those for what is there."""
    place = shlex.quote(str(folder.resolve()))
    found = [NextStep("look at every row with its pictures", f"mmgic view {place}")]
    exported = model_folder(folder, settings)
    if exported is None:
        return [*found, NextStep("train on it", f"mmgic pretrain --preset {settings.preset}")]
    model = shlex.quote(str(exported.resolve()))
    steps = [
        NextStep("let the model say what a picture shows", f"mmgic caption PICTURE --model {model}"),
        NextStep("ask it", f'mmgic ask PICTURE "Is there a dog?" --model {model}'),
        NextStep("let it draw", f'mmgic vision draw {model} "a red ball" --output drawn.png'),
    ]
    if settings.evaluation.benchmarks:
        command = f"mmgic evaluate --preset {settings.preset} --model {model}"
        steps.append(NextStep("score it", command))
    return [*found, *steps]


def stage_starts(steps: Sequence[Step], names: Sequence[str] = ()) -> dict[int, str]:
    """The stage that begins at each 0-based step: its name, or if it is a number from 1 on, that of `names`.

    Empty for a run of one stage.
    """
    starts: dict[int, str] = {}
    before: Any = None
    for step in steps:
        stage: Any = step.get("stage")
        if stage != before:
            named = isinstance(stage, int) and 0 < stage <= len(names)
            starts[step["step"]] = names[stage - 1] if named else str(stage)
        before = stage
    return starts if len(starts) > 1 else {}


def other_runs(folder: Path, settings: Settings) -> list[OtherRun]:
    """The other training runs in a run folder, with a chart of each figure that they measured."""
    found = []
    for path in sorted((folder / "training").glob("*/metrics.jsonl")):
        steps = read_metrics(path.parent)
        if path.parent.name == settings.training.name or not steps:
            continue
        names = [name for name, value in steps[-1].items() if isinstance(value, float)]
        charts = [curves(steps, {name: name}, name.replace("_", " "), stage_starts(steps)) for name in names]
        found.append(OtherRun(path.parent.name, len(steps), charts))
    return found


def duration(seconds: float) -> str:
    """Such as "2 h 5 min", "3 min 20 s" or "4.2 s"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
