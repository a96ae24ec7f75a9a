"""Localized narratives: JSON lines of one annotator on one image, with the spoken text as `caption`.

A line also holds the mouse's trace and is up to megabytes long, so that lines are read one by one and two fields kept.
Several people may have spoken about one image. Each of them described all of it, so their texts are not joined: the
longest one stays, of equally long ones that of the lowest annotator id.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from mmgic.sources.reading.files import collapse_spaces, is_number, text_id
from mmgic.sources.reading.json_files import json_lines
from mmgic.sources.reading.sorting import BadLine, Group, Sorter

_COLUMNS = {"image_id": pa.string(), "shortness": pa.int64(), "annotator": pa.int64(), "text": pa.string()}


def narrative_groups(sorter: Sorter, paths: Sequence[str], bad_lines: list[BadLine]) -> Iterator[Group]:
    """The narratives of each image, sorted by image, the one that stays first. What is no record joins `bad_lines`."""
    table = sorter.store(_COLUMNS, (row for path in paths for row in _narratives(path, bad_lines)))
    return sorter.groups(f"SELECT * FROM {table}")


def best_narrative(rows: Iterable[tuple[Any, ...]]) -> str:
    """The text of the first row of a group, "" if there is none."""
    return str(next((row[3] for row in rows), ""))


def _narratives(path: str, bad_lines: list[BadLine]) -> Iterator[tuple[str, int, int, str]]:
    for number, found in json_lines(path):
        record = found or {}
        image_id, text = text_id(record.get("image_id")), collapse_spaces(record.get("caption"))
        if not image_id:
            bad_lines.append(BadLine(path, number, "the line is no JSON object with an image_id"))
        elif text:
            yield image_id, -len(text), _number(record.get("annotator_id")), text


def _number(value: Any) -> int:
    return int(value) if is_number(value) and abs(value) < 2**63 else 0
