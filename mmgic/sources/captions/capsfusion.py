"""CapsFusion-120M (capsfusion_*.parquet or its JSON form) and LAION-COCO-Aesthetic (a Parquet of url and caption)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmgic.errors import InputError
from mmgic.settings import SourceSettings
from mmgic.sources.captions.pairs import UrlRows
from mmgic.sources.reading.files import stream_json
from mmgic.sources.reading.index import RecordIndex
from mmgic.sources.reading.records import annotation_paths, parquet_records

_URL = ("image_url", "url")
# The JSON examples of the release misspell one column and call it official.
_CAPSFUSION = {
    "caption_origin": ("laion_2b",),
    "caption_coco": ("laion_coco",),
    "caption_capsfusion": ("capsfusion", "capsfusion_official", "capsfuion_official"),
}
# LAION-COCO's captions are synthesized; TEXT is the web's, where a file still has it.
_AESTHETIC = {"caption_coco": ("caption", "top_caption"), "caption_origin": ("text",)}


def read_capsfusion(source: SourceSettings) -> Iterator[dict[str, Any]]:
    """Yields a row per record of all files, Parquet or JSON arrays; see `mmgic.sources.read_source`."""
    patterns = ("capsfusion_*.parquet", "*.parquet", "capsfusion*.json", "example_data*.json", "*.json")
    paths = annotation_paths(source, patterns, "CapsFusion's Parquet files")
    with RecordIndex() as index:
        rows = UrlRows(source, index)
        index.build()
        for path in paths:
            yield from _rows(path, rows, _CAPSFUSION)


def read_laion_coco_aesthetic(source: SourceSettings) -> Iterator[dict[str, Any]]:
    """Yields a row per record of all Parquet files; see `mmgic.sources.read_source`."""
    paths = annotation_paths(source, ("laion-coco*.parquet", "*.parquet"), "laion-coco_v3_filter.parquet")
    with RecordIndex() as index:
        rows = UrlRows(source, index)
        index.build()
        for path in paths:
            yield from _rows(path, rows, _AESTHETIC, optional=("caption_origin",))


def _rows(
    path: str, rows: UrlRows, captions: dict[str, tuple[str, ...]], optional: tuple[str, ...] = ()
) -> Iterator[dict[str, Any]]:
    file = path.rpartition("/")[2]
    columns = {"url": _URL, **captions}
    records: Iterator[dict[str, Any]]
    if path.endswith(".json"):
        records = (_json_record(record, columns) for record in stream_json(path, "item"))
    else:
        records = parquet_records(path, columns, optional)
    number = 0
    for number, record in enumerate(records, start=1):
        yield rows.row(record.pop("url"), f"{file}#{number}", **record)
    if not number:
        raise InputError(f"{path} holds no records; download it again, or take it out of the source's folder")


def _json_record(record: Any, columns: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    fields = record if isinstance(record, dict) else {}
    return {column: next((fields[name] for name in names if name in fields), None) for column, names in columns.items()}
