"""UniMM-Chat: rows of an image and a conversation that is a JSON string, as Parquet or as a JSON array.

The conversation is [{"from", "value"}, ...]; "<image >" is another way to write "<image>".
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Any

from mmgic.errors import InputError
from mmgic.settings import SourceSettings
from mmgic.sources.instructions.llava import conversation_row
from mmgic.sources.instructions.pictures import Pictures
from mmgic.sources.reading.files import stream_json
from mmgic.sources.reading.index import RecordIndex
from mmgic.sources.reading.json_text import load_json
from mmgic.sources.reading.records import annotation_paths, parquet_records

_COLUMNS = {
    "id": ("id", "idx", "question_id"),
    "image": ("image", "image_path"),
    "conversation": ("conversation", "conversations"),
}


def read_unimm_chat(source: SourceSettings) -> Iterator[dict[str, Any]]:
    """Yields a row per record of all files; see `mmgic.sources.read_source`."""
    patterns = ("*.parquet", "data/*.parquet", "[Uu]ni[Mm][Mm]*.json", "*.json")
    paths = annotation_paths(source, patterns, "UniMM-Chat's files")
    pictures = Pictures(source)
    with RecordIndex() as index:
        for path in paths:
            number = 0
            for number, record in enumerate(_records(path), start=1):
                where = f"{posixpath.basename(path)}#{number}"
                yield conversation_row(source.name, where, _decoded(record), index, pictures)
            if not number:
                raise InputError(f"{path} holds no records; set 'annotations' to UniMM-Chat's files")


def _records(path: str) -> Iterator[Any]:
    if path.endswith(".json"):
        yield from stream_json(path, "item")
    else:
        yield from parquet_records(path, _COLUMNS, optional=("id",), rows=64)


def _decoded(record: Any) -> dict[str, Any]:
    """The record with its conversation as a list, absent where it is no JSON."""
    fields = record if isinstance(record, dict) else {}
    names = ("conversation", "conversations")
    spoken = next((fields[name] for name in names if fields.get(name) is not None), None)
    if isinstance(spoken, str):
        try:
            spoken = load_json(spoken)
        except (ValueError, RecursionError):
            spoken = None
    return {"id": fields.get("id"), "image": fields.get("image"), "conversations": spoken}
