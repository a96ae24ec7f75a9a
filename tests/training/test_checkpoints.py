"""Checkpoints are whole or not there, and written beside the steps."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import nn

from mmgic.errors import InputError, explained
from mmgic.settings import TrainingSettings
from mmgic.training.checkpoints import (
    Progress,
    checkpoints,
    load_moments,
    load_parameters,
    load_progress,
    save_checkpoint,
)
from mmgic.training.worker import Worker


def parameters(*shape: int) -> dict[str, nn.Parameter]:
    return {"weight": nn.Parameter(torch.randn(*shape))}


def moments(tensors: dict[str, nn.Parameter]) -> dict[str, torch.Tensor]:
    return {f"{name}.{kind}": torch.rand_like(t) for name, t in tensors.items() for kind in ("exp_avg", "exp_avg_sq")}


def test_round_trip_and_pruning(tmp_path: Path) -> None:
    trained = parameters(3, 2)
    adam = moments(trained)
    for step in (2, 4, 6):
        save_checkpoint(tmp_path, Progress(step, 10, (0.5,), (step - 1,)), trained, adam, keep=2)
    (tmp_path / "checkpoint_00000008.unfinished").mkdir()  # a killed worker's
    assert [folder.name for folder in checkpoints(tmp_path)] == ["checkpoint_00000004", "checkpoint_00000006"]
    newest = checkpoints(tmp_path)[-1]
    other = parameters(3, 2)
    load_parameters(newest, other)
    assert torch.equal(other["weight"], trained["weight"])
    assert all(torch.equal(tensor, adam[name]) for name, tensor in load_moments(newest, other).items())
    assert load_progress(newest) == Progress(6, 10, (0.5,), (5,))


def test_other_sizes_are_refused(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path, Progress(1, 1), parameters(3, 2), {}, keep=1)
    with pytest.raises(InputError, match="for weight it has 3x2 where the model has 4x2"):
        load_parameters(folder, parameters(4, 2))
    with pytest.raises(InputError, match=r"for weight.exp_avg it has nothing where the model has 3x2"):
        load_moments(folder, parameters(3, 2))


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    folder = Path(save_checkpoint(tmp_path, Progress(1, 1), parameters(3, 2), {}, keep=1))
    for name in ("trained.safetensors", "progress.json"):
        (folder / name).write_bytes((folder / name).read_bytes()[:9])
    with pytest.raises(InputError, match="cannot be read as a checkpoint"):
        load_parameters(folder, parameters(3, 2))
    with pytest.raises(InputError, match="is no training checkpoint"):
        load_progress(folder)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """As a disk does that has room for no more."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_one_sentence_and_the_checkpoint_before_is_kept(tmp_path: Path) -> None:
    nothing = lambda _: None  # noqa: E731
    worker = Worker(tmp_path, TrainingSettings(keep_checkpoints=1), torch.device("cpu"), 0, 1, nothing, nothing)
    worker.begin(9)
    trained = parameters(64, 64)
    before = trained["weight"].detach().clone()
    worker.save(1, trained, moments(trained))
    trained["weight"].data.zero_()  # the steps go on while it is written
    while not checkpoints(tmp_path):
        time.sleep(0.01)
    with files_of_at_most(1 << 12):
        worker.save(2, trained, moments(trained))
        with pytest.raises(Exception, match="large") as failure:
            worker.close()
    assert "checkpoint_00000002: no room is left on the disk" in explained(failure.value)
    again = Worker(tmp_path, TrainingSettings(), torch.device("cpu"), 0, 1, nothing, nothing)
    assert again.begin(9) == 1
    load_parameters(again.newest, trained)
    assert torch.equal(trained["weight"], before)
    again.close()
