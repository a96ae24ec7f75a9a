"""Label descriptions (F.5): what a concept looks like, in about fifty words per label."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmgic.descriptions import KINDS, Kind
from mmgic.descriptions.parse import STATUSES
from mmgic.errors import InputError
from mmgic.sources.reading.json_files import json_lines

_EXAMPLE = '{"kind": "object", "label": "sunglasses", "description": "..."}'


@dataclass(frozen=True)
class Descriptions:
    """Label -> description, for each kind of label. A label without a description is simply absent.

    A source may describe a label in its own way, or call it invalid: `of(source)` is what holds there.
    """

    objects: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)
    relationships: Mapping[str, str] = field(default_factory=dict)
    invalid: frozenset[tuple[Kind, str]] = frozenset()  # (kind, label) without a reasonable meaning (F.2 step 8)
    sources: Mapping[str, Descriptions] = field(default_factory=dict)  # of the sources that have lines of their own

    def of(self, source: str) -> Descriptions:
        """What holds for the labels of one source: its own lines, and the lines for all sources if it has none."""
        return self.sources.get(source, self)


def load_descriptions(path: str | Path) -> Descriptions:
    """Reads JSON lines of {"kind": "object" | "attribute" | "relationship", "label": ..., "description": ...}.

    Two more keys may be there: `source`, whose labels the line is about (left out or "": those of all sources), and
    `status`, one of described (the default), invalid, unusable and rejected; only a described label needs a
    description. `mmgic.descriptions.table` writes this form. Raises InputError, with the line's number, for a line that
    is not of this form or that contradicts an earlier one.
    """
    lines: dict[str, dict[tuple[Kind, str], _Line]] = {"": {}}
    for number, record in json_lines(str(path)):
        line = _parse(record, f"{path}, line {number}")
        before = lines.setdefault(line.source, {}).setdefault((line.kind, line.label), line)
        if before != line:
            raise InputError(
                f"{path}, line {number}: the {line.kind} '{line.label}' has two descriptions; keep one of them"
            )
    general = lines.pop("")
    sources = {source: _descriptions({**general, **own}.values()) for source, own in lines.items()}
    return _descriptions(general.values(), sources)


@functools.cache
def read_descriptions(path: str) -> Descriptions:
    """`load_descriptions`, read once in each process; "" has no descriptions."""
    return load_descriptions(path) if path else Descriptions()


@dataclass(frozen=True)
class _Line:
    source: str
    kind: Kind
    label: str
    status: str
    description: str


def _descriptions(lines: Iterable[_Line], sources: Mapping[str, Descriptions] | None = None) -> Descriptions:
    described: dict[Kind, dict[str, str]] = {kind: {} for kind in KINDS}
    invalid = set()
    for line in lines:
        if line.status == "described":
            described[line.kind][line.label] = line.description
        elif line.status == "invalid":
            invalid.add((line.kind, line.label))
    return Descriptions(
        described["object"], described["attribute"], described["relationship"], frozenset(invalid), sources or {}
    )


def _parse(record: dict[str, Any] | None, where: str) -> _Line:
    if record is None:
        raise InputError(f"{where}: this is no JSON object; write lines such as {_EXAMPLE}")
    if record.get("kind") not in KINDS:
        raise InputError(f"{where}: 'kind' must be object, attribute or relationship, as in {_EXAMPLE}")
    source, status = record.get("source", ""), record.get("status", "described")
    if not isinstance(source, str):
        raise InputError(f"{where}: 'source' must be the name of a source, or be left out")
    if status not in STATUSES:
        raise InputError(f"{where}: 'status' must be one of {', '.join(STATUSES)}, or be left out")
    label, description = record.get("label"), record.get("description")
    needed = {"label": label, **({"description": description} if status == "described" else {})}
    if not all(isinstance(value, str) and value.strip() for value in needed.values()):
        raise InputError(
            f"{where}: {' and '.join(repr(name) for name in needed)} must be text that is not empty, as in {_EXAMPLE}"
        )
    description = " ".join(str(description).split()) if status == "described" else ""
    return _Line(source, record["kind"], str(label), status, description)
