"""Checkpoints of what is trained: parameters and Adam's moments as whole tensors, for any number of workers.

They lie in the run's folder, or at a place of any fsspec store, where progress.json, which is written last, says that
one is whole.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mmgic.errors import InputError, about
from mmgic.files import filesystem_of, read_text, staged, whole_folder
from mmgic.paths import is_local

PLACE_FILE = "checkpoints_at.txt"  # in a run's folder, if its checkpoints lie elsewhere: where
PARAMETERS, MOMENTS, PROGRESS = "trained.safetensors", "optimizer.safetensors", "progress.json"
_NAME = re.compile(r"checkpoint_(\d{8})")


@dataclass(frozen=True)
class Progress:
    """What had been done when a checkpoint was written."""

    step: int  # steps made
    steps: int  # steps of the whole run
    norms: tuple[float, ...] = ()  # these two are `mmgic.training.bad_steps`' own
    skipped: tuple[int, ...] = ()


def save_checkpoint(
    place: str | Path, progress: Progress, parameters: Mapping[str, Tensor], moments: Mapping[str, Tensor], keep: int
) -> str:
    """Writes `place`/checkpoint_<step>, whole or not at all, and returns it; removes all but the newest `keep`."""
    folder = f"{place}/checkpoint_{progress.step:08d}"
    if is_local(place):
        with whole_folder(Path(folder)) as unfinished:
            _write(unfinished, progress, parameters, moments)
        for whole in checkpoints(Path(place))[:-keep]:
            shutil.rmtree(whole)
        return folder
    with about(folder), tempfile.TemporaryDirectory() as local:
        _write(Path(local), progress, parameters, moments)
        filesystem, path = filesystem_of(folder)
        filesystem.makedirs(path, exist_ok=True)
        for name in (PARAMETERS, MOMENTS, PROGRESS):
            filesystem.put_file(f"{local}/{name}", f"{path}/{name}")
        for old in _stored(str(place))[:-keep]:
            filesystem.rm(old, recursive=True)
    return folder


def _write(folder: Path, progress: Progress, parameters: Mapping[str, Tensor], moments: Mapping[str, Tensor]) -> None:
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in parameters.items()}
    save_file(whole, folder / PARAMETERS)
    save_file({name: tensor.cpu().contiguous() for name, tensor in moments.items()}, folder / MOMENTS)
    (folder / PROGRESS).write_text(json.dumps(asdict(progress)) + "\n", encoding="utf-8")


def place_of(run_folder: Path) -> str:
    """Where a run's checkpoints lie."""
    return (read_text(str(run_folder / PLACE_FILE)) or str(run_folder)).strip()


def newest_checkpoint(run_folder: Path) -> Path | None:
    """A local folder with the newest complete checkpoint of a run, wherever they lie; None if there is none."""
    place = place_of(run_folder)
    if is_local(place):
        return next(iter(checkpoints(Path(place))[-1:]), None)
    filesystem, _ = filesystem_of(place)
    return next((staged(filesystem.unstrip_protocol(folder)) for folder in _stored(place)[-1:]), None)


def checkpoints(folder: Path) -> list[Path]:
    """The complete checkpoints in a local folder, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(found for found in folder.iterdir() if _NAME.fullmatch(found.name))


def _stored(place: str) -> list[str]:
    """The complete checkpoints of a store as paths there, oldest first."""
    filesystem, path = filesystem_of(place)
    filesystem.invalidate_cache()
    found = filesystem.find(path) if filesystem.exists(path) else []
    folders = [file.removesuffix(f"/{PROGRESS}") for file in found if file.endswith(f"/{PROGRESS}")]
    return sorted(folder for folder in folders if _NAME.fullmatch(folder.rpartition("/")[2]))


def load_progress(folder: str | Path) -> Progress:
    """Raises InputError if `folder` is no checkpoint."""
    try:
        stored = json.loads((Path(folder) / PROGRESS).read_text(encoding="utf-8"))
        norms, skipped = (tuple(stored.pop(name, ())) for name in ("norms", "skipped"))
        return Progress(**stored, norms=norms, skipped=skipped)
    except (OSError, ValueError, TypeError, AttributeError):
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
