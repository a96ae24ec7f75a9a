"""Label descriptions (F.5): what a concept looks like, in about fifty words per label."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mmgic.errors import InputError


@dataclass(frozen=True)
class Descriptions:
    """Label -> description, for each kind of label. A label without a description is simply absent."""

    objects: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)
    relationships: Mapping[str, str] = field(default_factory=dict)


def load_descriptions(path: str | Path) -> Descriptions:
    """Reads JSON lines of {"kind": "object" | "attribute" | "relationship", "label": ..., "description": ...}.

    Raises InputError, with the line's number, for a line that is not of this form or that describes a label twice.
    """
    by_kind: dict[str, dict[str, str]] = {"object": {}, "attribute": {}, "relationship": {}}
    try:
        with open(path, encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    kind, label, description = _parse(line, f"{path}, line {number}")
                    if by_kind[kind].setdefault(label, description) != description:
                        raise InputError(
                            f"{path}, line {number}: the {kind} '{label}' has two descriptions; keep one of them"
                        )
    except OSError as error:
        raise InputError(f"cannot read the label descriptions {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text; write the label descriptions as UTF-8 JSON lines") from None
    return Descriptions(by_kind["object"], by_kind["attribute"], by_kind["relationship"])


def _parse(line: str, where: str) -> tuple[str, str, str]:
    example = '{"kind": "object", "label": "sunglasses", "description": "..."}'
    try:
        record = json.loads(line)
    except json.JSONDecodeError:
        raise InputError(f"{where}: this is not JSON; write lines such as {example}") from None
    if not isinstance(record, dict) or record.get("kind") not in ("object", "attribute", "relationship"):
        raise InputError(f"{where}: 'kind' must be object, attribute or relationship, as in {example}")
    label, description = record.get("label"), record.get("description")
    if not isinstance(label, str) or not label.strip() or not isinstance(description, str) or not description.strip():
        raise InputError(f"{where}: 'label' and 'description' must be text that is not empty, as in {example}")
    return record["kind"], label, " ".join(description.split())
