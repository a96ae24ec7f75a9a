"""JourneyDB: JSON lines with the caption under `Task2`, and images `000/<uuid>.jpg` below the `images` folder.

`annotations` names the file (train_anno_realease_repath.jsonl). The caption, which GPT-3.5 made of the user's prompt,
is used as it is: it is the detailed one (G.3).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmgic.schema import KEPT, CaptionedImage, reject
from mmgic.settings import SourceSettings
from mmgic.sources.captions.pairs import bad_pair, captioned_image
from mmgic.sources.reading.files import ImageFinder, collapse_spaces
from mmgic.sources.reading.index import RecordIndex
from mmgic.sources.reading.json_files import json_lines
from mmgic.sources.reading.records import source_records

MIN_WORDS = 5  # what is shorter tells nothing in detail; the least length of F.4


def read_journeydb(source: SourceSettings) -> Iterator[CaptionedImage]:
    """Yields a row per line; see `mmgic.sources.read_source`. A caption may be missing, null or of a few words."""
    finder = ImageFinder(source)
    with RecordIndex() as index:
        for where, record in source_records(source, json_lines):
            yield _row(source.name, where, record, finder, index)


def _row(
    source: str, where: str, record: dict[str, Any] | None, finder: ImageFinder, index: RecordIndex
) -> CaptionedImage:
    name = record.get("img_path") if record is not None else None
    if record is None or not isinstance(name, str):
        detail = f"{where} is no JSON object" if record is None else f"{where} has no img_path"
        return bad_pair(source, where, index.times_seen(where), detail)
    name = name.removeprefix("./")
    path = finder.path(name)
    if not path:
        detail = f"{where}: img_path {name[:200]!r} is no name inside the image folder"
        return bad_pair(source, where, index.times_seen(where), detail)
    image_id = name.rpartition("/")[2].rpartition(".")[0] or name
    task = record.get("Task2")
    caption = collapse_spaces(task.get("Caption")) if isinstance(task, dict) else ""
    words = len(caption.split())
    verdict = KEPT if words >= MIN_WORDS else reject("no_caption", f"Task2 has a caption of {words} words")
    seen = index.times_seen(image_id)
    return captioned_image(source, image_id, seen, image_path=path, caption_capsfusion=caption, **verdict)
