"""COCO-captions JSON: {"annotations": [{"image_id", "id", "caption"}, ...]}."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mmgic.errors import InputError
from mmgic.settings import SourceSettings
from mmgic.sources.reading.files import collapse_spaces, source_files, text_id
from mmgic.sources.reading.index import RecordIndex
from mmgic.sources.reading.json_files import stream_json


def caption_paths(source: SourceSettings) -> list[str]:
    """The source's captions files, none if it has none. Raises InputError if one is missing."""
    return source_files(source, source.captions, "captions") if source.captions else []


def index_captions(index: RecordIndex, paths: Sequence[str]) -> None:
    """Stores the captions of the files `paths` in `index`. Captions of images that are not listed stay unused.

    Raises InputError if there are files, and no caption in them.
    """
    if paths and not index.fill("caption", (caption for path in paths for caption in _captions(path))):
        raise InputError(f"{paths[0]} holds no captions; it should be a COCO-captions file with an 'annotations' list")


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
