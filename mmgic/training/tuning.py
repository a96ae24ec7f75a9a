"""Sweeps with Ray Tune: each trial is a Ray Train run, several at once if the cluster has room.

A killed sweep goes on: finished runs and scores are taken as they are, others go on from their newest checkpoint.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray import tune

from mmgic.analysis.sweep import Trial, write_sweep
from mmgic.checks import Work
from mmgic.checks.run import refuse_problems
from mmgic.evaluation.items import only
from mmgic.evaluation.registry import find
from mmgic.evaluation.results import Results, read_results
from mmgic.evaluation.running import SETTINGS_FILE, evaluate
from mmgic.files import read_text
from mmgic.jobs.evaluate import with_evaluation_gpus
from mmgic.pipelines.build import build
from mmgic.settings import Settings, to_yaml
from mmgic.sources.formats import FORMATS
from mmgic.stages.session import ray_session
from mmgic.training.metrics import read_metrics
from mmgic.training.plan import stages_of
from mmgic.training.recipes.pretrain import PRETRAINING
from mmgic.training.run import run
from mmgic.training.sweep import Grid, Point
from mmgic.training.worker import LOG_FILE

LAST_STEPS = 10  # whose mean is a trial's loss: one step's is its batch's
LOSSES = ("visual_loss", "text_loss")


def run_sweep(sweep: Grid, settings: Settings, points: Sequence[Point], benchmarks: Sequence[str] | None) -> str:
    """Trains and scores each point, and returns `write_sweep`'s text on `<output>/sweeps/<name>`.

    `benchmarks` are those of the settings' that are scored, None for all. Data are built with the settings' own seed:
    what differs between a value's seeds is training alone.
    """
    trials = {point.settings.training.name: point.settings for point in points}
    settings = _scored(only(settings, benchmarks) if benchmarks else settings, list(trials.values()))
    folder = Path(settings.output).resolve() / "sweeps" / sweep.name
    data = {
        (trial.documents, trial.training.curriculum): replace(trial, seed=settings.seed, evaluation=settings.evaluation)
        for trial in trials.values()
    }
    works: list[Work] = ["data", "training"]
    if settings.evaluation.benchmarks:
        works.append("evaluation")
    for needed in data.values():
        refuse_problems(needed, works)
    with ray_session():
        for needed in {needed.documents: needed for needed in data.values()}.values():
            build(needed)
        results = tune.Tuner(
            tune.with_resources(_train_and_score, {"cpu": 1}),
            param_space={
                "trial": tune.grid_search(list(trials)),
                "trials": trials,
                "settings": settings,
                "folder": os.getcwd(),
                "scores": str(folder / "scores"),
            },
            tune_config=tune.TuneConfig(max_concurrent_trials=_at_once(settings)),
            run_config=tune.RunConfig(name="tune", storage_path=str(folder), verbose=0),
        ).fit()
    if results.errors:
        raise results.errors[0]
    by_name = {result.config["trial"]: result.metrics["figures"] for result in results}
    done = [
        Trial(p.value, p.seed, by_name[p.settings.training.name], str(PRETRAINING.run_folder(p.settings)))
        for p in points
    ]
    names = list(done[0].figures)
    return write_sweep(done, sweep.setting.partition(".")[2], (names[len(LOSSES) :] or names[-1:])[0], folder)


def _train_and_score(config: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """One trial; "figures" are its losses and each benchmark's number. It only drives the run that it starts."""
    os.chdir(config["folder"])  # Tune starts trials in folders of their own; the settings' paths are the driver's
    settings: Settings = config["settings"]
    result = run(PRETRAINING, config["trials"][config["trial"]])
    last = read_metrics(Path(result.run_folder))[-LAST_STEPS:]
    figures = {name: sum(step[name] for step in last) / len(last) for name in LOSSES}
    if settings.evaluation.benchmarks:
        figures |= _scores(settings, result.model, Path(config["scores"], config["trial"])).numbers()
    return {"figures": figures}


def _scores(settings: Settings, model: Path, folder: Path) -> Results:
    """Those in `folder`, if they are of this model and these settings."""
    before = read_results(folder) if read_text(str(folder / SETTINGS_FILE)) == to_yaml(settings) else None
    if before and before.model == str(model):
        return before
    return with_evaluation_gpus(settings, folder / LOG_FILE, evaluate, settings, model, folder)


def _scored(settings: Settings, trials: Sequence[Settings]) -> Settings:
    """`settings` with the benchmarks of what all trials learn: of questions only after instructions (E.1, E.2)."""
    if all(map(_learns_to_answer, trials)):
        return settings
    names = [benchmark.name for benchmark in settings.evaluation.benchmarks if find(benchmark.name).after_pretraining]
    return only(settings, names)


def _learns_to_answer(settings: Settings) -> bool:
    instructions = {source.corpus or "sft" for source in settings.sources if FORMATS[source.format].corpus == "sft"}
    return any(term.corpus in instructions for stage in stages_of(settings.training) for term in stage)


def _at_once(settings: Settings) -> int:
    """How many trials the cluster holds: each needs a CPU to drive it and its training workers' own."""
    cluster, training = ray.cluster_resources(), settings.cluster
    by_cpu = cluster.get("CPU", 0) // (1 + training.training_workers)
    gpus = training.training_workers * training.training_gpus
    return int(max(1, min(by_cpu, cluster.get("GPU", 0) // gpus) if gpus else by_cpu))
