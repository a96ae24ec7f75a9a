"""UniMM-Chat: rows of an image and a conversation that is a JSON string, as Parquet or as a JSON array.

The conversation is [{"from", "value"}, ...]; "<image >" is another way to write "<image>".
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from mmgic.schema import Interleaved
from mmgic.settings import SourceSettings
from mmgic.sources.instructions.llava import conversation_row
from mmgic.sources.instructions.pictures import Pictures
from mmgic.sources.reading.index import RecordIndex
from mmgic.sources.reading.json_text import load_json
from mmgic.sources.reading.records import source_records, table_records

_COLUMNS = {
    "id": ("id", "idx", "question_id"),
    "image": ("image", "image_path", "images"),
    "conversations": ("conversation", "conversations"),
}
_ROWS = 64  # of a Parquet file with images that are in memory at once


def read_unimm_chat(source: SourceSettings) -> Iterator[Interleaved]:
    """Yields a row per record of all files; see `mmgic.sources.read_source`."""
    pictures = Pictures(source)
    read = partial(table_records, columns=_COLUMNS, optional=("id",), rows=_ROWS)
    with RecordIndex() as index:
        for where, record in source_records(source, read):
            yield conversation_row(source.name, where, _decoded(record), index, pictures)


def _decoded(record: dict[str, Any]) -> dict[str, Any]:
    """The record with its conversation as a list, absent if it is no JSON."""
    spoken = record["conversations"]
    if isinstance(spoken, str):
        try:
            spoken = load_json(spoken)
        except (ValueError, RecursionError):
            spoken = None
    return {**record, "conversations": spoken}
