"""Every run of the paper by name: what it trains on, and what its docstring says."""

from __future__ import annotations

import pytest

from mmgic.presets import PRESETS, preset
from mmgic.presets.runs import RUNS
from mmgic.settings import TrainingSettings
from mmgic.training.curriculum import parse_curriculum


@pytest.mark.parametrize("name", RUNS)
def test_a_run_trains_on_what_its_data_have(name: str) -> None:
    settings = preset(name)
    assert settings.preset == settings.training.name == name
    formats = {source.format for source in settings.sources}
    corpora = {term.corpus for stage in parse_curriculum(settings.training.curriculum) for term in stage}
    needed = {
        "mmgic": "visual_genome",
        "ic": "capsfusion",
        "mmc4": "mmc4",
        "mmc4_pairs": "mmc4_pairs",
        "sft": "unimm_chat",
        "aesthetic": "laion_coco_aesthetic",
        "playback": "visual_genome",
    }
    assert {needed[corpus] for corpus in corpora} <= formats


@pytest.mark.parametrize("name", RUNS)
def test_its_docstring_has_its_row_command_cost_and_scores(name: str) -> None:
    about = PRESETS[name].__doc__ or ""
    run = RUNS[name]
    job = "finetune" if run.start else "pretrain"
    for part in (run.where, f"python jobs/{job}.py --preset {name}\n", "32 GPUs", run.hours, run.scores):
        assert part in about


def test_hyper_parameters_are_table_10s() -> None:
    for name, run in RUNS.items():
        training = preset(name).training
        paper = (4e-4, 0.05, 256) if run.start else (2e-4, 0.1, 512)
        assert (training.learning_rate, training.warmup_ratio, training.batch_size) == paper
        rest = (training.weight_decay, training.epochs, training.min_lr_ratio, training.schedule)
        assert rest == (0.05, 1.0, 0.1, "per_stage")


def test_a_fine_tuning_goes_on_from_a_run_that_has_a_preset() -> None:
    folders = {
        f"{settings.output}/training/{settings.training.name}": settings
        for settings in map(preset, PRESETS)
        if settings.preset.endswith("-7b")
    }
    for name, run in RUNS.items():
        if run.start:
            before = folders[f"output/{run.start}"]
            assert before.documents.recipe == run.recipe, name
            assert before.training.start == TrainingSettings().start


def test_tables_1_and_2_are_there_row_by_row() -> None:
    rows = {
        ("mmgic", "C"),
        ("mmgic", "CL"),
        ("mmgic", "CLD"),
        ("mmgic", "CLDR"),
        *(
            (curriculum, "CLDR")
            for curriculum in (
                *("ic[4.06M]", "ic", "mmgic+ic", "mmgic -> ic", "ic -> mmgic", "mmgic+ic -> mmgic"),
                *("2*mmgic+ic", "3*mmgic+ic", "4*mmgic+ic", "3*mmgic+ic -> mmgic", "mmc4", "mmc4_pairs"),
            )
        ),
    }
    pretraining = {
        (settings.training.curriculum, settings.documents.recipe)
        for settings in map(preset, PRESETS)
        if settings.preset.endswith("-7b") and not settings.training.start
    }
    assert rows <= pretraining
