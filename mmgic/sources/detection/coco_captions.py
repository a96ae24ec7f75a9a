"""COCO-captions JSON: {"annotations": [{"image_id", "id", "caption"}, ...]}."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmgic.errors import InputError
from mmgic.settings import SourceSettings
from mmgic.sources.reading.files import collapse_spaces, source_file, stream_json, text_id
from mmgic.sources.reading.index import RecordIndex


def index_captions(index: RecordIndex, source: SourceSettings) -> None:
    """Stores the source's captions in `index`, if it has any. Captions of images it does not list stay unused."""
    if not source.captions:
        return
    path = source_file(source, source.captions, "captions")
    if not index.fill("caption", _captions(path)):
        raise InputError(f"{path} holds no captions; it should be a COCO-captions file with an 'annotations' list")


def _captions(path: str) -> Iterator[tuple[str, Any]]:
    for position, annotation in enumerate(stream_json(path, "annotations.item")):
        if not isinstance(annotation, dict):
            continue
        caption = collapse_spaces(annotation.get("caption"))
        if caption:
            caption_id = text_id(annotation.get("id"))
            number = int(caption_id) if caption_id.isdecimal() else position
            yield text_id(annotation.get("image_id")), [number, caption]


def first_caption(index: RecordIndex, image_id: str) -> str:
    """The image's caption of the lowest annotation id, "" if it has none."""
    captions = index.get("caption", image_id)
    return str(min(captions)[1]) if captions else ""
