"""What a sweep varies: a grid of one setting's values and of seeds. `mmgic.training.tuning` runs it."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from mmgic.arguments import SEED
from mmgic.cli import add_settings_flags
from mmgic.settings import Settings, merge
from mmgic.training.plan import stages_of

Value = float | str
_MARKS = {"->": " to ", "+": " and ", "*": " x "}  # of curricula, in the names of runs


@dataclass(frozen=True)
class Point:
    """One value with one seed, and the settings of its run."""

    value: Value
    seed: int
    settings: Settings


@dataclass(frozen=True)
class Grid:
    """`setting` is the key of what is varied, such as loss.mask_prob; `name` that of the sweep's folder."""

    name: str
    setting: str
    values: Sequence[Value]

    def add_flags(self, parser: argparse.ArgumentParser) -> None:
        add_settings_flags(parser)
        kind = type(self.values[0])
        parser.add_argument("--values", type=kind, nargs="+", default=self.values, help="one for each trial")
        parser.add_argument("--seeds", type=SEED, nargs="+", help="of training; in place of the settings' own")
        parser.add_argument("--benchmarks", nargs="+", metavar="NAME", help="of the settings' benchmarks these alone")

    def points(self, settings: Settings, values: Sequence[Value], seeds: Sequence[int] | None) -> list[Point]:
        """Each value with each seed. Raises SettingsError for a value that cannot be used."""
        return list(self._points(settings, dict.fromkeys(values), dict.fromkeys(seeds or [settings.seed])))

    def _points(self, settings: Settings, values: dict[Value, None], seeds: dict[int, None]) -> Iterator[Point]:
        for value, seed in product(values, seeds):
            group, key = self.setting.split(".")
            words = re.sub("|".join(map(re.escape, _MARKS)), lambda mark: _MARKS[mark[0]], text(value))
            name = "_".join([self.name, *re.findall(r"[\w.]+", words), f"seed_{seed}"])
            varied = merge(merge(settings, {group: {key: value}}), {"training": {"name": name}, "seed": seed})
            stages_of(varied.training)
            yield Point(value, seed, varied)


def text(value: Value) -> str:
    return value if isinstance(value, str) else f"{value:g}"
