"""How a setting is declared: a field of a frozen dataclass, with its range beside it."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from mmgic.errors import UserError

N = TypeVar("N", int, float)
T = TypeVar("T")
_FOLDER_NAME = re.compile(r"\w[\w.-]*", re.ASCII)


class SettingsError(UserError):
    """The settings cannot be used; the message says which key is wrong and what to write instead."""


@dataclass(frozen=True)
class Range:
    """The values that make sense: `low` and `high` belong to them, `above` and `below` do not. nan never does."""

    low: float
    high: float
    above: float
    below: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high and self.above < value < self.below

    def __str__(self) -> str:
        lowest = f"more than {self.above:g}" if self.above >= self.low else f"at least {self.low:g}"
        if self.below < math.inf:
            return f"be {lowest} and less than {self.below:g}"
        if self.high < math.inf:
            return f"lie between {self.low:g} and {self.high:g}"
        return f"be {lowest}"


def number(
    default: N,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    above: float = -math.inf,
    below: float = math.inf,
    at_most: str = "",
    free: bool = False,
) -> N:
    """A numeric field with its range; `at_most` names a field of the same group that it may not exceed. For `free` see
    the function of that name."""
    metadata = {"range": Range(low, high, above, below), "at_most": at_most, "free": free}
    return dataclasses.field(default=default, metadata=metadata)  # type: ignore[no-any-return]


def open_number(low: float = -math.inf, high: float = math.inf) -> Any:
    """A numeric field that may be left open, as None; what that means is said where it is read."""
    return dataclasses.field(default=None, metadata={"range": Range(low, high, -math.inf, math.inf)})


def free(default: T) -> T:
    """A field that may change between two starts of one run: it says where and how safely, not what is computed."""
    return dataclasses.field(default=default, metadata={"free": True})  # type: ignore[no-any-return]


def path(default: str = "") -> str:
    """A field that names a local file or folder; it is `free`, for what matters is what lies there."""
    return dataclasses.field(default=default, metadata={"free": True, "path": True})  # type: ignore[no-any-return]


def folder_name(default: str = "", *, free: bool = False) -> str:
    """A field that is, or is a part of, the name of a folder of ours. What another run may be called it is told by."""
    return dataclasses.field(default=default, metadata={"free": free, "folder_name": True})  # type: ignore[no-any-return]


def computed(group: Any) -> dict[str, Any]:
    """The settings of `group` by name that say what is computed: those that are not `free`."""
    return {f.name: getattr(group, f.name) for f in dataclasses.fields(group) if not f.metadata.get("free")}


class Group:
    """A group of settings, whose values are checked whenever one is made."""

    def __post_init__(self) -> None:
        check(type(self), vars(self))


def check(group: type, values: Mapping[str, Any], where: str = "") -> None:
    """Raises SettingsError if one of `values`, by field of `group`, is out of its range; `where` begins its name."""
    for field in dataclasses.fields(group):
        value, limits = values[field.name], field.metadata.get("range")
        if limits and value is not None and value not in limits:
            raise SettingsError(f"'{where}{field.name}' is {value}; it must {limits}")
        if field.metadata.get("folder_name") and value != field.default and not _FOLDER_NAME.fullmatch(value):
            raise SettingsError(
                f"'{where}{field.name}' is {value!r}; it may hold letters, digits, _, - and ., and "
                "begins with one of the first three"
            )
        if (other := field.metadata.get("at_most")) and value > values[other]:
            raise SettingsError(
                f"'{where}{field.name}' is {value} and '{where}{other}' is {values[other]}; "
                "the first may not exceed the second"
            )
