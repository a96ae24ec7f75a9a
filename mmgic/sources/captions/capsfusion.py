"""CapsFusion-120M (capsfusion_*.parquet or its JSON form) and LAION-COCO-Aesthetic (a Parquet of url and caption)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from mmgic.schema import CaptionedImage
from mmgic.settings import SourceSettings
from mmgic.sources.captions.pairs import url_rows
from mmgic.sources.reading.records import table_records

_URL = ("image_url", "url")
# The JSON examples of the release misspell one column and call it official.
_CAPSFUSION = {
    "url": _URL,
    "caption_origin": ("laion_2b",),
    "caption_coco": ("laion_coco",),
    "caption_capsfusion": ("capsfusion", "capsfusion_official", "capsfuion_official"),
}
# LAION-COCO's captions are synthesized; TEXT is the web's, if a file still has it.
_AESTHETIC = {"url": _URL, "caption_coco": ("caption", "top_caption"), "caption_origin": ("text",)}


def read_capsfusion(source: SourceSettings) -> Iterator[CaptionedImage]:
    """Yields a row per record of all files, Parquet or JSON arrays; see `mmgic.sources.read_source`."""
    return url_rows(source, partial(table_records, columns=_CAPSFUSION))


def read_laion_coco_aesthetic(source: SourceSettings) -> Iterator[CaptionedImage]:
    """Yields a row per record of all Parquet files; see `mmgic.sources.read_source`."""
    return url_rows(source, partial(table_records, columns=_AESTHETIC, optional=("caption_origin",)))
