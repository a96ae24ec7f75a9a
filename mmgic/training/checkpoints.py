"""Checkpoints of what is trained: parameters and Adam's moments as whole tensors, for any number of workers."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mmgic.errors import InputError
from mmgic.files import whole_folder

PARAMETERS, MOMENTS, PROGRESS = "trained.safetensors", "optimizer.safetensors", "progress.json"
_NAME = re.compile(r"checkpoint_(\d{8})")


@dataclass(frozen=True)
class Progress:
    """What had been done when a checkpoint was written."""

    step: int  # steps made
    steps: int  # steps of the whole run


def save_checkpoint(
    run_folder: Path, progress: Progress, parameters: Mapping[str, Tensor], moments: Mapping[str, Tensor], keep: int
) -> Path:
    """Writes `run_folder`/checkpoint_<step>, whole or not at all, and returns it; removes all but the newest `keep`."""
    folder = run_folder / f"checkpoint_{progress.step:08d}"
    with whole_folder(folder) as unfinished:
        whole = {name: tensor.detach().cpu().contiguous() for name, tensor in parameters.items()}
        save_file(whole, unfinished / PARAMETERS)
        save_file({name: tensor.contiguous() for name, tensor in moments.items()}, unfinished / MOMENTS)
        (unfinished / PROGRESS).write_text(json.dumps(asdict(progress)) + "\n", encoding="utf-8")
    for old in checkpoints(run_folder)[:-keep]:
        shutil.rmtree(old)
    return folder


def checkpoints(run_folder: Path) -> list[Path]:
    """The complete checkpoints of a run, oldest first."""
    if not run_folder.is_dir():
        return []
    return sorted(folder for folder in run_folder.iterdir() if _NAME.fullmatch(folder.name))


def load_progress(folder: str | Path) -> Progress:
    """Raises InputError if `folder` is no checkpoint."""
    try:
        return Progress(**json.loads((Path(folder) / PROGRESS).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        raise InputError(
            f"{folder} is no training checkpoint: it has no {PROGRESS}; choose a run's folder checkpoint_<step>"
        ) from None


def load_parameters(folder: str | Path, parameters: Mapping[str, Tensor]) -> None:
    """Copies the checkpoint's tensors into `parameters`. Raises InputError if names or sizes differ."""
    stored = _read(Path(folder) / PARAMETERS)
    _compare(folder, stored, {name: parameter.shape for name, parameter in parameters.items()})
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(stored[name])


def load_moments(folder: str | Path, parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """Adam's moments as `mmgic.training.engine.full_moments` gives them. Raises InputError if sizes differ."""
    stored = _read(Path(folder) / MOMENTS)
    expected = {
        f"{name}.{moment}": parameter.shape
        for name, parameter in parameters.items()
        for moment in ("exp_avg", "exp_avg_sq")
    }
    _compare(folder, stored, expected)
    return stored


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{path} cannot be read as a checkpoint: {error}; remove its folder to go on from an older one"
        ) from None


def _compare(folder: str | Path, stored: Mapping[str, Tensor], expected: Mapping[str, torch.Size]) -> None:
    for name in sorted(stored.keys() | expected.keys()):
        shapes = [
            "nothing" if shape is None else "x".join(map(str, shape))
            for shape in (stored[name].shape if name in stored else None, expected.get(name))
        ]
        if shapes[0] != shapes[1]:
            raise InputError(
                f"the checkpoint {folder} belongs to a model of other sizes: for {name} it has {shapes[0]} where the "
                f"model has {shapes[1]}; use the settings it was trained with, or another training.name"
            )
