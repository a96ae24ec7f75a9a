"""A training run in this process against plain PyTorch, and what goes on from where."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from fsspec.implementations.memory import MemoryFileSystem
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mmgic.errors import InputError
from mmgic.model.assemble import untrained_model
from mmgic.model.loss import IGNORE
from mmgic.settings import Settings, SettingsError, load_settings
from mmgic.training import bad_steps
from mmgic.training.bad_steps import BAD_STEPS_FILE
from mmgic.training.checkpoints import PARAMETERS, checkpoints, load_progress
from mmgic.training.metrics import read_metrics
from mmgic.training.recipes.pretrain import PRETRAINING, PretrainingResult, make_batches
from mmgic.training.run import RESULT_FILE, run
from mmgic.training.schedule import learning_rate
from mmgic.training.store import store_folder

MakeRun = Callable[..., Settings]
TWO_STAGES = {"curriculum": "ic -> mmgic", "max_steps": 4, "keep_checkpoints": 9}


def trained(result: PretrainingResult) -> dict[str, torch.Tensor]:
    return load_file(Path(result.checkpoint) / PARAMETERS)


def plain_pytorch_run(
    settings: Settings, skipped: Collection[int] = ()
) -> tuple[dict[str, torch.Tensor], list[float], list[float]]:
    """The paper's training written out: one document at a time, no engine, no packing, no chunks."""
    model = untrained_model(settings)
    parameters = model.trained_parameters()
    batches = make_batches(settings, rank=0, workers=1)
    losses, norms = [], []
    for step in range(batches.steps):
        stage = batches.plan.stage(step)
        if step == stage.start:  # a stage is a run of its own
            decay = stage.training.weight_decay
            rows = [parameters[f"embedding.{table}"] for table in ("rows", "codebook")]
            matrices = [p for name, p in parameters.items() if p.ndim > 1 and not any(p is table for table in rows)]
            optimizer = torch.optim.AdamW(
                [
                    {"params": matrices, "weight_decay": decay},
                    {"params": rows, "weight_decay": settings.training.embedding_decay},
                    {"params": [p for p in parameters.values() if p.ndim == 1], "weight_decay": 0.0},
                ],
                betas=(settings.training.adam_beta1, settings.training.adam_beta2),
            )
        visual, text = [], []
        for micro_batch in batches(step):
            lengths = list(micro_batch.document_lengths)
            for ids, labels in zip(micro_batch.ids.split(lengths), micro_batch.labels.split(lengths), strict=True):
                token_losses = F.cross_entropy(model.logits(ids, [len(ids)]), labels, reduction="none")
                visual.append(token_losses[labels >= 60])
                text.append(token_losses[(labels != IGNORE) & (labels < 60)])
        loss = settings.loss.visual_weight * torch.cat(visual).mean() + torch.cat(text).mean()
        optimizer.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(parameters.values(), settings.training.grad_clip).item())
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step - stage.start, stage.steps, stage.training)
        if step not in skipped:
            optimizer.step()
        losses.append(loss.item())
    return {name: parameter.detach() for name, parameter in parameters.items()}, losses, norms


@pytest.mark.parametrize("zero_stage", [0, 1, 2])
def test_run_equals_plain_pytorch(tiny_run: MakeRun, tmp_path: Path, zero_stage: int) -> None:
    stages = [{"max_steps": 4}, {"max_steps": 3, "learning_rate": 5e-3, "batch_size": 5, "weight_decay": 0.5}]
    settings = tiny_run(tmp_path, training={"zero_stage": zero_stage, "curriculum": "ic -> mmgic", "stages": stages})
    assert len(make_batches(settings, 0, 1)(0)) > 1  # several micro batches a step
    result = run(PRETRAINING, settings)
    expected, losses, norms = plain_pytorch_run(settings)
    metrics = read_metrics(Path(result.run_folder))
    assert max(norms) > settings.training.grad_clip > min(norms)  # some gradients are clipped
    assert [line["loss"] for line in metrics] == pytest.approx(losses, rel=1e-5)
    assert [line["grad_norm"] for line in metrics] == pytest.approx(norms, rel=1e-4)
    for name, tensor in trained(result).items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-3, atol=1e-5, msg=name)


def test_rows_that_no_document_touches_stay_as_they_are(tiny_run: MakeRun, tmp_path: Path) -> None:
    settings = tiny_run(tmp_path, training={"weight_decay": 1.0})
    before = untrained_model(settings).embedding.rows.detach()
    batches = make_batches(settings)
    touched = torch.cat([micro.ids for step in range(batches.steps) for micro in batches(step)]).unique()
    untouched = [row for row in range(len(before)) if row not in touched.tolist()]
    assert untouched
    rows = trained(run(PRETRAINING, settings))["embedding.rows"]
    assert torch.equal(rows[untouched], before[untouched])
    moved = (rows != before).any(1).nonzero()[:, 0].tolist()
    assert set(range(len(before))) - set(moved) == {*untouched, 2}  # nothing follows </s>
    decayed = tiny_run(tmp_path, training={"embedding_decay": 1.0, "name": "decayed"})
    rows = trained(run(PRETRAINING, decayed))["embedding.rows"]
    assert (rows[untouched].norm(dim=1) < 0.99 * before[untouched].norm(dim=1)).all()


def test_gradient_checkpointing_changes_nothing(tiny_run: MakeRun, tmp_path: Path) -> None:
    losses = [
        run(PRETRAINING, tiny_run(tmp_path / str(on), training={"gradient_checkpointing": on, "max_steps": 2})).loss
        for on in (0.0, 0.5, 1.0)
    ]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-6)


@pytest.fixture(scope="module")
def whole(tiny_run: MakeRun, tmp_path_factory: pytest.TempPathFactory) -> PretrainingResult:
    return run(PRETRAINING, tiny_run(tmp_path_factory.mktemp("whole"), training=TWO_STAGES))


@pytest.mark.parametrize("newest", [2, 4, 6])
def test_an_interrupted_run_goes_on_exactly(
    tiny_run: MakeRun, whole: PretrainingResult, tmp_path: Path, newest: int
) -> None:
    """Killed in its first stage, between its stages, and in its second."""
    folder = tmp_path / "training" / "pretrain"
    shutil.copytree(whole.run_folder, folder)
    for later in checkpoints(folder)[newest // 2 :]:
        shutil.rmtree(later)
    (folder / RESULT_FILE).unlink()
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 8, "lo')
    cut = run(PRETRAINING, tiny_run(tmp_path, training=TWO_STAGES))
    assert (cut.steps, cut.tokens, cut.loss) == (whole.steps, whole.tokens, whole.loss)
    ours, theirs = trained(cut), trained(whole)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    timeless = [
        [
            {key: line[key] for key in ("step", "loss", "grad_norm", "tokens")}
            for line in read_metrics(Path(r.run_folder))
        ]
        for r in (cut, whole)
    ]
    assert timeless[0] == timeless[1]
    assert [line["step"] for line in timeless[0]] == list(range(8))


def test_what_a_finished_run_leaves(tiny_run: MakeRun, tmp_path: Path) -> None:
    settings = tiny_run(tmp_path)
    result = run(PRETRAINING, settings)
    folder = Path(result.run_folder)
    assert [path.name for path in checkpoints(folder)] == ["checkpoint_00000004", "checkpoint_00000006"]
    assert load_settings(Settings(), folder / "settings.yaml") == settings
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    for name in ("loss", "visual_loss", "text_loss", "learning_rate", "tokens_per_second", "mfu_4n", "data_wait"):
        assert len(events.Scalars(f"training/{name}")) == 6
    for step in read_metrics(folder):
        assert step["mfu_6n"] == pytest.approx(1.5 * step["mfu_4n"])
        assert step["mfu_4n"] > 0
        assert 0 <= step["padding"] < 1
        assert step["longest_seconds"] >= max(step["median_seconds"], step["seconds"])
        assert step["peak_memory"] > 1 << 20
    # nothing frozen is written
    assert not any(name.endswith("base_layer.weight") for name in trained(result))
    before = sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*"))
    assert run(PRETRAINING, settings) == result
    assert sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*")) == before


def test_the_share_of_a_worker_is_its_part_of_the_same_batch(tiny_run: MakeRun, tmp_path: Path) -> None:
    settings = tiny_run(tmp_path)

    def documents(workers: int, step: int) -> list[tuple[list[int], list[int]]]:
        batches = [batch for rank in range(workers) for batch in make_batches(settings, rank, workers)(step)]
        return sorted(
            (ids.tolist(), labels.tolist())
            for batch in batches
            for ids, labels in zip(
                batch.ids.split(list(batch.document_lengths)),
                batch.labels.split(list(batch.document_lengths)),
                strict=True,
            )
            if len(ids) > 1
        )

    for step in range(6):
        assert documents(1, step) == documents(2, step) == documents(5, step)
        assert len(documents(1, step)) == 8


def test_epochs_visit_every_sample(tiny_run: MakeRun, tmp_path: Path) -> None:
    batches = make_batches(tiny_run(tmp_path, training={"max_steps": 0, "curriculum": "mmgic+ic"}), 0, 1)
    sizes = [sum(len(micro.document_lengths) for micro in batches(step)) for step in range(batches.steps)]
    assert sizes == [8, 8, 8, 8, 8, 1]


def test_other_settings_under_the_same_name_are_refused(tiny_run: MakeRun, tmp_path: Path) -> None:
    settings = tiny_run(tmp_path, training={"max_steps": 2})
    run(PRETRAINING, settings)
    with pytest.raises(SettingsError, match=r"training.learning_rate = 0.01, not 0.5; choose another training.name"):
        run(PRETRAINING, tiny_run(tmp_path, training={"max_steps": 2, "learning_rate": 0.5}))
    with pytest.raises(SettingsError, match=r"holds a run with seed = 3"):
        run(PRETRAINING, replace(settings, seed=4))
    renamed = tiny_run(tmp_path, training={"max_steps": 2, "learning_rate": 0.5, "name": "other"})
    assert run(PRETRAINING, renamed).run_folder.endswith("training/other")


def test_unusable_input_is_refused(tiny_run: MakeRun, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read from character 7"):
        run(PRETRAINING, tiny_run(tmp_path, training={"curriculum": "mmgic+"}))
    with pytest.raises(SettingsError, match="names the corpus 'vqa', which has no documents"):
        run(PRETRAINING, tiny_run(tmp_path, training={"curriculum": "vqa"}))
    with pytest.raises(SettingsError, match="a folder that every worker mounts"):
        run(PRETRAINING, replace(tiny_run(tmp_path), output="s3://bucket/output"))
    with pytest.raises(InputError, match="holds no finished token store"):
        run(PRETRAINING, replace(tiny_run(tmp_path), output=str(tmp_path / "nowhere")))
    with pytest.raises(InputError, match="no language model is given"):
        run(PRETRAINING, tiny_run(tmp_path, model={"llm": ""}))


def test_a_loss_that_is_no_number_ends_the_run(tiny_run: MakeRun, tmp_path: Path) -> None:
    training = {"learning_rate": 1e30, "warmup_ratio": 0.0, "max_steps": 30, "checkpoint_every": 1}
    settings = tiny_run(tmp_path, training=training)
    with pytest.raises(SettingsError, match=r"step \d+ is not made because the \w+ is not finite: .*bad_steps.jsonl"):
        run(PRETRAINING, settings)
    folder = PRETRAINING.run_folder(settings)
    [bad] = [json.loads(line) for line in (folder / BAD_STEPS_FILE).read_text().splitlines()]
    visits = make_batches(settings).plan.stage(bad["step"]).visits(bad["step"])
    assert bad["row_ids"] == [make_batches(settings).store.sample(visit.index).row_id for visit in visits]
    assert load_progress(checkpoints(folder)[-1]).step == bad["step"]  # what went before is not lost
    with pytest.raises(SettingsError, match="the last 10 steps were not made"):
        run(PRETRAINING, tiny_run(tmp_path, training={**training, "on_bad_step": "skip"}))


@pytest.mark.parametrize("zero_stage", [0, 2])
def test_a_skipped_step_changes_nothing(
    tiny_run: MakeRun, tmp_path: Path, zero_stage: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bad_steps, "_FEWEST", 2)  # so that half of the gradients are too large
    training = {"zero_stage": zero_stage, "on_bad_step": "skip", "grad_norm_limit": 1.0, "max_steps": 8}
    settings = tiny_run(tmp_path, training={**training, "keep_checkpoints": 9})
    result = run(PRETRAINING, settings)
    metrics, tensors = read_metrics(folder := Path(result.run_folder)), trained(result)
    skipped = [line["step"] for line in metrics if not line["made"]]
    assert 0 < len(skipped) < 6
    assert skipped == [json.loads(line)["step"] for line in (folder / BAD_STEPS_FILE).read_text().splitlines()]
    expected, losses, _ = plain_pytorch_run(settings, skipped)
    assert [line["loss"] for line in metrics] == pytest.approx(losses, rel=1e-5)
    for name, tensor in tensors.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-3, atol=1e-5, msg=name)
    for later in checkpoints(folder)[2:]:
        shutil.rmtree(later)
    (folder / RESULT_FILE).unlink()
    again = trained(run(PRETRAINING, settings))
    assert all(torch.equal(again[name], tensors[name]) for name in tensors)


def test_store_and_checkpoints_may_lie_elsewhere(
    tiny_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    expected = run(PRETRAINING, tiny_run(tmp_path / "here"))
    memory, root = MemoryFileSystem(), f"/{tmp_path.name}"
    memory.put(str(store_folder(tiny_run(tmp_path / "here"))) + "/", f"{root}/store", recursive=True)
    places = {"store": f"memory:/{root}/store", "checkpoints": f"memory:/{root}/runs"}
    settings = tiny_run(tmp_path / "there", training=places)
    result = run(PRETRAINING, settings)
    assert not checkpoints(Path(result.run_folder))
    names = ["checkpoint_00000004", "checkpoint_00000006"]
    assert sorted(memory.ls(f"{root}/runs/pretrain", detail=False)) == [f"{root}/runs/pretrain/{n}" for n in names]
    memory.rm(f"{root}/runs/pretrain/checkpoint_00000006/progress.json")  # one that was not finished
    (Path(result.run_folder) / RESULT_FILE).unlink()
    cut = run(PRETRAINING, settings)
    assert [line["step"] for line in read_metrics(Path(cut.run_folder))] == list(range(6))
    assert all(torch.equal(tensor, trained(expected)[name]) for name, tensor in trained(cut).items())
    elsewhere = tiny_run(tmp_path / "there", training={"store": places["store"]})
    with pytest.raises(SettingsError, match=r"checkpoints of .* lie in memory://.*set training.checkpoints as it was"):
        run(PRETRAINING, elsewhere)
    with pytest.raises(InputError, match="memory://nowhere holds no finished token store"):
        run(PRETRAINING, tiny_run(tmp_path / "nowhere", training={"store": "memory://nowhere"}))


def test_a_run_of_another_curriculum_is_refused(tiny_run: MakeRun, tmp_path: Path) -> None:
    settings = tiny_run(tmp_path, training={"max_steps": 1})
    run(PRETRAINING, settings)
    with pytest.raises(SettingsError, match=r"holds a run with training.curriculum = mmgic, not ic; choose another"):
        run(PRETRAINING, tiny_run(tmp_path, training={"max_steps": 1, "curriculum": "ic"}))
