"""Checkpoints are whole or not there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from mmgic.errors import InputError
from mmgic.training.checkpoints import (
    Progress,
    checkpoints,
    load_moments,
    load_parameters,
    load_progress,
    save_checkpoint,
)


def parameters(*shape: int) -> dict[str, nn.Parameter]:
    return {"weight": nn.Parameter(torch.randn(*shape))}


def moments(tensors: dict[str, nn.Parameter]) -> dict[str, torch.Tensor]:
    return {f"{name}.{kind}": torch.rand_like(t) for name, t in tensors.items() for kind in ("exp_avg", "exp_avg_sq")}


def test_round_trip_and_pruning(tmp_path: Path) -> None:
    trained = parameters(3, 2)
    adam = moments(trained)
    for step in (2, 4, 6):
        save_checkpoint(tmp_path, Progress(step, 10), trained, adam, keep=2)
    (tmp_path / "checkpoint_00000008.unfinished").mkdir()  # a killed worker's
    assert [folder.name for folder in checkpoints(tmp_path)] == ["checkpoint_00000004", "checkpoint_00000006"]
    newest = checkpoints(tmp_path)[-1]
    other = parameters(3, 2)
    load_parameters(newest, other)
    assert torch.equal(other["weight"], trained["weight"])
    assert all(torch.equal(tensor, adam[name]) for name, tensor in load_moments(newest, other).items())
    assert load_progress(newest) == Progress(6, 10)


def test_other_sizes_are_refused(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path, Progress(1, 1), parameters(3, 2), {}, keep=1)
    with pytest.raises(InputError, match="for weight it has 3x2 where the model has 4x2"):
        load_parameters(folder, parameters(4, 2))
    with pytest.raises(InputError, match=r"for weight.exp_avg it has nothing where the model has 3x2"):
        load_moments(folder, parameters(3, 2))


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path, Progress(1, 1), parameters(3, 2), {}, keep=1)
    for name in ("trained.safetensors", "progress.json"):
        (folder / name).write_bytes((folder / name).read_bytes()[:9])
    with pytest.raises(InputError, match="cannot be read as a checkpoint"):
        load_parameters(folder, parameters(3, 2))
    with pytest.raises(InputError, match="is no training checkpoint"):
        load_progress(folder)
