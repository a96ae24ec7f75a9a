"""What a run will do: its stages, their steps and rates, and which documents a sample holds."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from mmgic.model.assemble import untrained_model
from mmgic.model.vl_llama import trainable_summary
from mmgic.settings import Settings, SettingsError
from mmgic.training.plan import Plan, draw, make_plan
from mmgic.training.recipes.pretrain import PRETRAINING, describe_plan, make_batches
from mmgic.training.run import run
from mmgic.training.schedule import learning_rate
from mmgic.training.store import TokenStore, store_folder

MakeRun = Callable[..., Settings]
MMGIC, IC = 24, 17  # documents of the tiny store


def plan_of(settings: Settings) -> Plan:
    return make_plan(settings.training, TokenStore(store_folder(settings)), settings.seed)


def test_each_stage_is_a_run_of_its_own(tiny_run: MakeRun, tmp_path: Path) -> None:
    """Steps by hand, and the rates of a run of that stage alone."""
    plan = plan_of(tiny_run(tmp_path, training={"curriculum": "2*mmgic+ic -> mmgic", "max_steps": 0}))
    assert [(stage.start, stage.steps, stage.samples) for stage in plan.stages] == [(0, 9, 65), (9, 3, 24)]
    for stage in plan.stages:
        rates = [plan.learning_rate(step) for step in range(stage.start, stage.stop)]
        assert rates == [learning_rate(step, stage.steps, plan.training) for step in range(stage.steps)]
    assert [len(plan.stage(step).visits(step)) for step in range(12)] == [*[8] * 8, 1, 8, 8, 8]
    assert [plan.number(step) for step in range(12)] == [1] * 9 + [2] * 3
    assert [plan.first_of_optimizer(step) for step in (0, 8, 9, 11)] == [0, 0, 9, 9]


def test_one_schedule_over_all_stages(tiny_run: MakeRun, tmp_path: Path) -> None:
    plan = plan_of(tiny_run(tmp_path, training={"curriculum": "ic -> mmgic", "schedule": "whole"}))
    assert plan.steps == 12
    assert [plan.learning_rate(step) for step in range(12)] == [learning_rate(s, 12, plan.training) for s in range(12)]
    assert {plan.first_of_optimizer(step) for step in range(12)} == {0}


def test_a_stage_has_settings_of_its_own(tiny_run: MakeRun, tmp_path: Path) -> None:
    stages = [{}, {"batch_size": 4, "learning_rate": 4e-4, "warmup_ratio": 0.0, "epochs": 2, "max_steps": 0}]
    plan = plan_of(tiny_run(tmp_path, training={"curriculum": "ic -> mmgic", "stages": stages}))
    assert [stage.steps for stage in plan.stages] == [6, 2 * MMGIC // 4]
    assert plan.stages[0].training.learning_rate == plan.training.learning_rate == 1e-2
    assert plan.learning_rate(6) == learning_rate(0, 12, plan.stages[1].training) <= 4e-4
    with pytest.raises(SettingsError, match=r"'training.stages' has 2 entries but the curriculum 'ic' has 1 stages"):
        plan_of(tiny_run(tmp_path, training={"curriculum": "ic", "stages": stages}))


def test_a_sample_is_drawn_by_identity(tiny_run: MakeRun, tmp_path: Path) -> None:
    store = TokenStore(store_folder(tiny_run(tmp_path)))
    corpus = store.corpus_indices("ic")
    samples = [draw(store, "ic", size, seed=0).tolist() for size in range(1, IC + 1)]
    assert samples[-1] == list(corpus)
    for smaller, larger in pairwise(samples):
        assert set(smaller) < set(larger) <= set(corpus)
        assert len(larger) == len(smaller) + 1
    assert any(draw(store, "ic", 8, seed).tolist() != samples[7] for seed in (1, 2, 3))


def test_a_sample_keeps_its_documents_when_others_leave(tiny_run: MakeRun, tmp_path: Path) -> None:
    """What is drawn of a corpus that lost one document is what was drawn before, but for that document."""
    import pyarrow.parquet as pq

    from mmgic.training.store import build_store

    settings = tiny_run(tmp_path)
    table = pq.read_table(store_folder(settings).resolve().parent / "documents")
    smaller = table.filter(
        [
            name != "5" or corpus != "ic"
            for name, corpus in zip(table["image_id"].to_pylist(), table["corpus"].to_pylist(), strict=True)
        ]
    )
    (tmp_path / "documents").mkdir()
    pq.write_table(smaller, tmp_path / "documents" / "part-0.parquet")
    build_store([tmp_path / "documents"], tmp_path / "smaller", store_size := 78)
    assert store_size == make_batches(settings).vocabulary.size
    drawn = []
    for folder in (store_folder(settings), tmp_path / "smaller"):
        store = TokenStore(folder)
        drawn.append({store.sample(int(index)).row_id for index in draw(store, "ic", 9, seed=0)})
    assert len(drawn[0] - drawn[1]) <= 1


def test_a_curriculum_that_the_store_cannot_give_is_refused(tiny_run: MakeRun, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="'empty', which has no documents; those that have some: ic, mmgic"):
        plan_of(tiny_run(tmp_path, training={"curriculum": "empty"}))
    with pytest.raises(SettingsError, match="takes 18 documents of 'ic', which has 17; write a smaller size"):
        plan_of(tiny_run(tmp_path, training={"curriculum": "ic[18]"}))


def test_what_is_said_before_a_run_starts(tiny_run: MakeRun, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    settings = tiny_run(
        tmp_path,
        training={"curriculum": "ic -> 2*mmgic", "max_steps": 2},
        cluster={"tokens_per_second": 10.0},
    )
    store = TokenStore(store_folder(settings))
    lengths = {name: store.lengths(np.array(store.corpus_indices(name))).sum() for name in ("mmgic", "ic")}
    text = describe_plan(settings)
    lines = [line.split() for line in text.splitlines()]
    tokens = [round(lengths["ic"] * 16 / 17), round(2 * lengths["mmgic"] * 16 / 48)]
    assert lines[3][:6] == ["1", "ic", "16", str(tokens[0]), "2", str(round(tokens[0] / 2))]
    assert lines[4][:6] == ["2", "2*mmgic", "16", str(tokens[1]), "2", str(round(tokens[1] / 2))]
    assert lines[3][9] == f"{tokens[0] / 10 / 3600:.2f}"
    assert lines[3][6:8] == [str(round(tokens[0] / 2)), f"{tokens[0] / 2 / 64 / -(-tokens[0] // 128):.0%}"]
    assert "memory of a worker, about 0.0 GB: frozen weights" in text
    many = describe_plan(replace(settings, cluster=replace(settings.cluster, training_workers=9)))
    assert re.search(r"note: the micro batches of stage 1 \(ic\) are filled to \d+%; as few as \d workers", many)
    assert "are filled" not in text
    assert "note: max_steps ends stage 1 (ic) after 16 of its 17 samples" in text
    assert "note: max_steps ends stage 2 (2*mmgic) after 16 of its 48 samples" in text
    trained = trainable_summary(untrained_model(settings)).trained
    result = run(PRETRAINING, settings)
    assert result.trained_parameters == trained
    printed = capfd.readouterr().out
    assert text in printed
    assert printed.index(text) < printed.index("steps 1 to 4")
    written = sum(path.stat().st_size for path in result.checkpoint.iterdir())
    assert f"a checkpoint of {trained * 12 / 1000:.3g} kB every 2 steps" in text
    assert written == pytest.approx(trained * 12, rel=0.2)
    assert "unknown" in describe_plan(
        replace(
            settings,
            cluster=replace(settings.cluster, tokens_per_second=0.0),
            training=replace(settings.training, name="other"),
        )
    )
