"""The parser of every command: help that shows defaults, wrong names answered with the nearest, numbers in range."""

from __future__ import annotations

import argparse
import difflib
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mmgic.settings.fields import Range

N = TypeVar("N", int, float)


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Descriptions stay as they are written; each flag that has a default shows it."""

    def _get_help_string(self, action: argparse.Action) -> str:
        said = action.help or ""
        nothing = action.default in (None, "", [], argparse.SUPPRESS) or isinstance(action.default, bool)
        return said if nothing or "default:" in said else f"{said} (default: {_shown(action.default)})"


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that answers a misspelt command, choice or flag with the nearest one."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"formatter_class": HelpFormatter, **options})

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError:
            if near := _nearest(value, action.choices or ()):
                raise argparse.ArgumentError(action, f"invalid choice: {value!r}; did you mean '{near}'?") from None
            raise

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        found, others = super().parse_known_args(args, namespace)
        if others:  # said here, by the command itself, whose flags and usage are the ones to show
            near = _nearest(others[0].partition("=")[0], self._option_string_actions)
            self.error(f"unrecognized arguments: {' '.join(others)}{f'; did you mean {near}?' if near else ''}")
        return found, others


def whole(low: int = 0, high: float = math.inf) -> Callable[[str], int]:
    """The `type` of a flag that takes whole numbers from `low` to `high`."""
    return _number(int, "whole number", Range(low, high, -math.inf, math.inf))


def real(low: float = -math.inf, high: float = math.inf) -> Callable[[str], float]:
    """The `type` of a flag that takes finite numbers from `low` to `high`."""
    return _number(float, "number", Range(low, high, -math.inf, math.inf))


def _number(kind: Callable[[str], N], noun: str, limits: Range) -> Callable[[str], N]:
    def read(text: str) -> N:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"'{text}' is no {noun}") from None
        if value not in limits or math.isinf(value):
            raise argparse.ArgumentTypeError(f"it is {text}; it must {limits}")
        return value

    return read


def _nearest(name: str, names: Iterable[Any]) -> str:
    """The one of `names` that `name` resembles; "" if none does."""
    return next(iter(difflib.get_close_matches(str(name), [str(known) for known in names], n=1)), "")


def _shown(value: Any) -> str:
    """A default as it would be typed."""
    if isinstance(value, Path):  # a folder of the package is known by its last names
        return f".../{'/'.join(value.parts[-3:])}" if value.is_absolute() else str(value)
    return " ".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)


SEED = whole(0, 2**63 - 1)
PORT = whole(1, 65535)
