"""Writes settings.md, presets.md and formats.md beside this file from the code: `make docs`."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import io
import tokenize
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmgic.presets import PRESETS
from mmgic.settings import Settings
from mmgic.sources.formats import FORMATS

NOTE = "<!-- Made by docs/generate.py (make docs); do not edit. -->"


def settings_page() -> str:
    parts = [
        f"{NOTE}\n\n# Settings\n\nDefaults are the paper's if it gives them. A job's settings are a preset "
        "([presets.md](presets.md)), then the YAML file of `--config` over it, then each `--set a.b=value`. "
        "`--print-config` shows the result. A key that is not in this list, a value of another type and a number out "
        "of its range are refused. In a preset or a file, `{output}` at the beginning of a text is the output folder."
    ]
    for name, kind in groups(Settings):
        about = " ".join(inspect.cleandoc(kind.__doc__ or "").split())
        comments = field_comments(kind)
        rows = [
            (f"`{name}{field.name}`", _default(field), _takes(kind, field), comments.get(field.name, ""))
            for field in dataclasses.fields(kind)
            if group_of(kind, field.name) is None
        ]
        title = name.rstrip(".") or "All of a run"
        parts.append(f"## {title}\n\n{about}\n\n" + table(("setting", "default", "takes", "what it is"), rows))
    return "\n\n".join(parts) + "\n"


def groups(kind: type, name: str = "") -> Iterator[tuple[str, type]]:
    """Each group of settings with how the names of its settings begin."""
    yield name, kind
    for field in dataclasses.fields(kind):
        inner = group_of(kind, field.name)
        if inner:
            many = "[]" if typing.get_origin(typing.get_type_hints(kind)[field.name]) is tuple else ""
            yield from groups(inner, f"{name}{field.name}{many}.")


def group_of(kind: type, name: str) -> type | None:
    """The group that a setting is, or is a list of; None if it is a value."""
    hint = typing.get_type_hints(kind)[name]
    inner = typing.get_args(hint)[0] if typing.get_origin(hint) is tuple else hint
    return inner if dataclasses.is_dataclass(inner) else None


def field_comments(kind: type) -> dict[str, str]:
    """What the source says beside each field of a dataclass: the comment lines above it, or that behind it."""
    found: dict[str, str] = {}
    for owner in reversed(kind.__mro__):
        if not dataclasses.is_dataclass(owner):
            continue
        source = inspect.getsource(owner)
        tokens = tokenize.generate_tokens(io.StringIO(source).readline)
        comments = {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}
        lines = source.splitlines()
        for node in ast.parse(source).body[0].body:  # type: ignore[attr-defined]
            if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
                continue
            above: list[str] = []
            line = node.lineno - 1
            while line in comments and lines[line - 1].lstrip().startswith("#"):
                above.insert(0, comments[line])
                line -= 1
            behind = [comments[line] for line in range(node.lineno, node.end_lineno + 1) if line in comments]
            if above or behind or node.target.id not in found:
                found[node.target.id] = " ".join([*above, *behind])
    return found


def _default(field: dataclasses.Field[Any]) -> str:
    value = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}"
    text = "" if value in ("", ()) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _takes(kind: type, field: dataclasses.Field[Any]) -> str:
    hint = typing.get_type_hints(kind)[field.name]
    if typing.get_origin(hint) is typing.Literal:
        choices = typing.get_args(hint)
        return ", ".join(map(str, choices)) if len(choices) <= 8 else "a name, see [formats.md](formats.md)"
    noun = {int: "whole number", float: "number", bool: "true or false", str: "text"}.get(hint, "list of texts")
    limits = field.metadata.get("range")
    said = str(limits).removeprefix("be ").removeprefix("lie ") if limits and str(limits) != "be at least -inf" else ""
    most = field.metadata.get("at_most")
    return noun + (f", {said}" if said else "") + (f", at most `{most}`" if most else "")


def presets_page() -> str:
    parts = [
        f"{NOTE}\n\n# Presets\n\n`--preset NAME` chooses one, `--print-config` shows all of its settings. Listed are "
        "those that differ from the defaults of [settings.md](settings.md)."
    ]
    defaults = flat(dataclasses.asdict(Settings()))
    for name, make in PRESETS.items():
        settings = make()
        changed = {
            key: value
            for key, value in flat(dataclasses.asdict(settings)).items()
            if defaults.get(key) != value and key not in ("preset", "sources", "evaluation.benchmarks")
        }
        lists = [
            ("sources", ", ".join(source.name for source in settings.sources)),
            ("evaluation.benchmarks", ", ".join(benchmark.name for benchmark in settings.evaluation.benchmarks)),
        ]
        rows = [(f"`{key}`", _value(value)) for key, value in changed.items()]
        rows += [(f"`{key}`", value) for key, value in lists if value]
        about = inspect.cleandoc(make.__doc__ or "")
        parts.append(f"## {name}\n\n{about}\n\n" + table(("setting", "value"), rows))
    return "\n\n".join(parts) + "\n"


def _value(value: Any) -> str:
    """A preset's value; a folder of the package is shown as it lies in the repository."""
    root = str(Path(__file__).resolve().parents[1])
    return str(value).replace(f"{root}/", "")


def flat(tree: dict[str, Any], name: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}"""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= flat(value, f"{name}{key}.") if isinstance(value, dict) else {f"{name}{key}": value}
    return found


def formats_page() -> str:
    parts = [
        f"{NOTE}\n\n# Formats\n\nA source's `format` is one of these. `files` are looked for in the source's `path`; "
        "of choices parted by | the first that is there is read, and `annotations` stands for the first of them. "
        "`mmgic formats` prints the same."
    ]
    for corpus in dict.fromkeys(form.corpus for form in FORMATS.values()):
        rows = [
            (
                f"`{name}`",
                form.datasets,
                " and ".join(f"`{file}`" for file in form.files).replace(" | ", "` or `") or "what `annotations` names",
                ", ".join(f"`{file}`" for file in form.more_files),
                "by url" if form.by_url else "",
                form.terms,
            )
            for name, form in FORMATS.items()
            if form.corpus == corpus
        ]
        columns = ("format", "datasets", "files", "read if there", "images", "terms")
        parts.append(f"## {corpus}\n\n" + table(columns, rows))
    return "\n\n".join(parts) + "\n"


def table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [columns, tuple("---" for _ in columns), *(tuple(_cell(cell) for cell in row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


PAGES = {"settings.md": settings_page, "presets.md": presets_page, "formats.md": formats_page}


if __name__ == "__main__":
    for name, page in PAGES.items():
        (Path(__file__).parent / name).write_text(page(), encoding="utf-8")
