"""A downloaded release under inspection: which of its files, names and shapes are not what they should be."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from mmgic.errors import InputError
from mmgic.vision.folders import is_state, read_file

Shapes = dict[str, tuple[int, ...]]


@dataclass
class Release:
    """A downloaded folder under inspection: what is wrong with it, and what of it is left out."""

    folder: Path
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def check(self, name: str, expected: Shapes, optional: Callable[[str], bool] = lambda key: False) -> None:
        """Compares the tensors of a file with the `expected` shapes; `optional` names may be there beside them."""
        self.compare(name, self.tensors(name), expected, optional)

    def compare(
        self, name: str, found: Mapping[str, Tensor] | None, expected: Shapes, optional: Callable[[str], bool]
    ) -> None:
        if found is None:
            return
        self.problems += [f"{name}: {key} is missing" for key in sorted(expected.keys() - found.keys())]
        for key in sorted(found.keys() - expected.keys()):
            if optional(key):
                self.notes.append(f"{name}: {key} is left out")
            else:
                self.problems.append(f"{name}: {key} is unexpected")
        for key in sorted(expected.keys() & found.keys()):
            value = found[key]
            if tuple(value.shape) != expected[key]:
                self.problems.append(f"{name}: {key} is {list(value.shape)} instead of {list(expected[key])}")
            elif not value.is_floating_point():
                self.problems.append(f"{name}: {key} holds {value.dtype} instead of floats")

    def tensors(self, name: str) -> dict[str, Tensor] | None:
        """The tensors of a file; None, and a problem, if it is missing or holds something else."""
        value = self.load(name)
        if value is not None and not is_state(value):
            self.problems.append(f"{name}: holds no tensors by name")
            return None
        return value

    def load(self, name: str) -> Any:
        if not (self.folder / name).is_file():
            self.problems.append(f"{name}: the file is missing")
            return None
        try:
            return read_file(self.folder / name)
        except InputError:
            self.problems.append(f"{name}: the file is damaged or holds more than tensors")
            return None

    def json(self, name: str) -> dict[str, Any] | None:
        try:
            value = json.loads((self.folder / name).read_text(encoding="utf-8"))
        except OSError:
            self.problems.append(f"{name}: the file is missing")
        except ValueError:
            self.problems.append(f"{name}: the file is no JSON")
        else:
            if isinstance(value, dict):
                return value
            self.problems.append(f"{name}: the file is no JSON object")
        return None


def shapes(make: Callable[[], nn.Module]) -> Shapes:
    """Names and shapes of a module's tensors; nothing is allocated."""
    with torch.device("meta"):
        return {key: tuple(value.shape) for key, value in make().state_dict().items()}


def save(path: Path, tensors: Mapping[str, Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in tensors.items()}, path, metadata={"format": "pt"})
