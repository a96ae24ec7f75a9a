"""A run's settings: a preset, then a YAML file over it, then `a.b=value` overrides; and back to YAML.

An unknown key, a value of the wrong type or a value outside its range is refused with one sentence that names the
nearest valid key.
"""

from __future__ import annotations

import dataclasses
import difflib
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from mmgic.paths import absolute, plain
from mmgic.settings.fields import SettingsError, check
from mmgic.settings.run import Settings

T = TypeVar("T")
_NOUNS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def load_settings(base: T, config: str | Path | None = None, overrides: Sequence[str] = ()) -> T:
    """Returns `base` with the YAML file `config` and then the `a.b=value` `overrides` applied.

    A text setting of `Settings` may begin with "{output}", which stands for the output folder. Raises SettingsError
    with one sentence for anything that cannot be used.
    """
    changes = _read_config(config) if config else {}
    for override in overrides:
        _add_override(changes, override)
    settings = merge(base, changes)
    if not isinstance(settings, Settings):
        return settings
    if "{output}" in settings.output:
        raise SettingsError(f"'output' is {settings.output}; it is what {{output}} stands for, so give it a path")
    return _expand_output(settings, settings.output)


def merge(settings: T, changes: Mapping[str, Any], where: str = "") -> T:
    """Returns `settings` (a group, or all of them) with the nested `changes` applied and checked.

    Raises SettingsError for an unknown key, a wrong type or a value outside its range.
    """
    hints = typing.get_type_hints(type(settings))
    updates = {}
    for key, value in changes.items():
        name = f"{where}{key}"
        if key not in hints:
            near = difflib.get_close_matches(str(key), hints, n=1)
            meant = f"did you mean '{where}{near[0]}'?" if near else f"there are {', '.join(hints)}"
            raise SettingsError(f"unknown setting '{name}'; {meant}")
        updates[key] = _convert(value, hints[key], name, getattr(settings, key))
    check(type(settings), {**vars(settings), **updates}, where)
    return dataclasses.replace(settings, **updates)  # type: ignore[type-var]


def to_yaml(settings: Any) -> str:
    """The effective settings as YAML that `load_settings` reads back to the same settings."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        return [plain(v) for v in value] if isinstance(value, (tuple, list)) else value

    return yaml.safe_dump(plain(dataclasses.asdict(settings)), sort_keys=False)


def with_absolute_paths(settings: T) -> T:
    """`settings` with its paths from the root, for processes that run in a folder of their own. It is about `output`,
    the sources' folders and what models are trained from; an empty path stays empty."""
    updates: dict[str, Any] = {}
    for field in dataclasses.fields(settings):  # type: ignore[arg-type]
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            updates[field.name] = with_absolute_paths(value)
        elif isinstance(value, tuple):
            updates[field.name] = tuple(with_absolute_paths(v) if dataclasses.is_dataclass(v) else v for v in value)
        elif value and field.metadata.get("path"):
            updates[field.name] = absolute(value)
    return dataclasses.replace(settings, **updates)  # type: ignore[type-var]


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a mapping that has a key twice, of which YAML would keep the last one in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        lines: dict[Any, int] = {}
        for key, _ in node.value:
            name, line = getattr(key, "value", None), key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode) and lines.setdefault(name, line) != line:
                raise SettingsError(f"'{name}' is on line {lines[name]} and again on line {line}; join the two")
        return super().construct_mapping(node, deep)


def _read_config(path: str | Path) -> dict[str, Any]:
    example = "write lines such as 'training: {batch_size: 512}'"
    try:
        loaded = yaml.load(Path(plain(str(path))).read_bytes(), _UniqueKeys)  # a safe loader
    except OSError as error:
        raise SettingsError(f"cannot read the settings file {path}: {error.strerror}") from None
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from None
    except yaml.YAMLError:
        raise SettingsError(f"{path} is not a YAML file; {example}") from None
    if not isinstance(loaded, dict):
        raise SettingsError(f"{path} holds no settings; {example}")
    return loaded


class _Text(str):
    """A value from the command line, which is YAML unless the setting takes text."""


def _add_override(changes: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator:
        raise SettingsError(f"'{override}' is no override; write --set {override or 'a.b'}=value")
    if key.strip() == "preset":
        raise SettingsError(f"'preset' is the name of what is changed here; choose it with --preset {text or 'NAME'}")
    *groups, name = key.strip().split(".")
    for group in groups:
        changes = changes.setdefault(group, {})
        if not isinstance(changes, dict):
            raise SettingsError(f"'{group}' is a group of settings; write {group}.<key>=<value>")
    changes[name] = _Text(text)


def _convert(value: Any, kind: Any, name: str, current: Any) -> Any:
    """Checks that `value` fits the annotation `kind`."""
    if isinstance(value, _Text):
        value = str(value) if kind is str else _from_yaml(value)
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, Mapping):
            how = f"write {name}.<key>=<value>" if "[" not in name else "write {key: value}"
            raise SettingsError(f"'{name}' is a group of settings; {how}")
        return merge(current if current is not None else kind(), value, f"{name}.")  # type: ignore[operator]
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        if value not in arguments:
            near = difflib.get_close_matches(str(value), map(str, arguments), n=1, cutoff=0.0)
            options = ", ".join(map(str, arguments))
            raise SettingsError(f"'{name}' is {value!r}; it takes one of {options} (nearest: {near[0]})")
        return value
    if origin is tuple:
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise SettingsError(f"'{name}' takes a list, not {value!r}")
        return tuple(_convert(item, arguments[0], f"{name}[{i}]", None) for i, item in enumerate(value))
    if type(None) in arguments:  # a field that may be left open
        (kind,) = (argument for argument in arguments if argument is not type(None))
        return None if value is None else _convert(value, kind, name, current)
    if kind is float and isinstance(value, str):
        # YAML 1.1 reads 2e-4 as text
        try:
            value = float(value)
        except ValueError:
            raise SettingsError(f"'{name}' takes a number, not {value!r}") from None
    accepted: tuple[type, ...] = (int, float) if kind is float else (kind,)
    if isinstance(value, bool) is not (kind is bool) or not isinstance(value, accepted):
        raise SettingsError(f"'{name}' takes {_NOUNS[kind]}, not {value!r}")
    if kind is str and value != current:  # a default such as ~/.cache stays as it is written
        return plain(str(value))
    return kind(value)


def _from_yaml(text: str) -> Any:
    try:
        return yaml.safe_load(text) if text else ""
    except yaml.YAMLError:
        return str(text)


def _expand_output(value: T, output: str) -> T:
    if isinstance(value, str):
        return value.replace("{output}", output)  # type: ignore[return-value]
    if isinstance(value, tuple):
        return tuple(_expand_output(item, output) for item in value)  # type: ignore[return-value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _expand_output(getattr(value, f.name), output) for f in dataclasses.fields(value)}
        return dataclasses.replace(value, **fields)
    return value
