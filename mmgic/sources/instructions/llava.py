"""The LLaVA family: LLaVA-150k/80k and the 665k mixture, LLaVAR, ShareGPT4V. JSON arrays of conversations.

[{"id", "image": "coco/train2017/000000033471.jpg", "conversations": [{"from": "human", "value": "<image>\\nQ"},
{"from": "gpt", "value": "A"}, ...]}, ...]. Rows without an image are conversations in words alone. One id may have
several conversations, so a record is known by its id and what it says: of equal records the first one stays, which is
how LLaVAR's copies of LLaVA's records go.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from typing import Any

from mmgic.schema import Interleaved, reject
from mmgic.settings import SourceSettings
from mmgic.sources.instructions.conversations import Turn, content_id, missing_media, read_turns, to_rounds, with_task
from mmgic.sources.instructions.pictures import Pictures
from mmgic.sources.reading.files import is_safe_name
from mmgic.sources.reading.index import RecordIndex
from mmgic.sources.reading.json_files import json_array
from mmgic.sources.reading.records import source_records
from mmgic.sources.rows import interleaved

# ShareGPT4V's files also hold LLaVA's records; its own are one round that asks for a description of the whole image.
_DETAILED_FILE = re.compile(r"share(gpt4v|-captioner)", re.IGNORECASE)
_DETAILED_REQUEST = re.compile(
    r"(describe|description|elaborate|explain|analy[sz]e|summari[sz]e|portray|key elements|main features|"
    r"happening|going on|do you (see|think)).*(image|picture|photo|snapshot|scene|visual)"
    r"|(image|picture|photo|snapshot|scene).*(describe|detail)",
    re.IGNORECASE | re.DOTALL,
)


def read_llava(source: SourceSettings) -> Iterator[Interleaved]:
    """Yields a row per record of all files; see `mmgic.sources.read_source`."""
    pictures = Pictures(source)
    with RecordIndex() as index:
        for where, record in source_records(source, json_array):
            yield conversation_row(source.name, where, record, index, pictures)


def conversation_row(source: str, where: str, record: Any, index: RecordIndex, pictures: Pictures) -> Interleaved:
    """The row of one record; `where` says where it stands, which is its id where it holds nothing."""
    fields = record if isinstance(record, dict) else {}
    spoken = fields.get("conversations", fields.get("conversation"))
    image = fields.get("image") or fields.get("images")
    names = [name for name in (image if isinstance(image, list) else [image]) if name is not None and name != ""]
    turns, drops = read_turns(spoken)
    if not turns:
        row_id = content_id(fields.get("id"), where)
        lost = reject("bad_record", f"{where} has no round with a question and an answer")
        return interleaved(source, row_id, index.times_seen(row_id), "image_conversation", drops=drops, **lost)
    row_id = content_id(fields.get("id"), [_name(name) for name in names], turns)
    seen = index.times_seen(row_id)
    if missing := missing_media(turns, len(names)):
        verdict = reject("bad_record", f"{where}: {missing}")
        return interleaved(source, row_id, seen, "image_conversation", drops=drops, **verdict)
    if not names:
        return interleaved(source, row_id, seen, "text_only", rounds=to_rounds(turns, 0), drops=drops)
    paths = [pictures.path(name, f"{row_id}_{i}") for i, name in enumerate(names)]
    if not all(paths):
        verdict = reject("bad_record", f"{where} has {_name(names[paths.index('')])!r} for an image")
        return interleaved(source, row_id, seen, "image_conversation", drops=drops, **verdict)
    task, turns = with_task(turns)
    if _is_detailed_caption(where, task, turns):
        task, turns = "detailed_caption", [("", turns[0][1])]
    return interleaved(source, row_id, seen, task, paths, to_rounds(turns, len(paths)), drops=drops)


def _name(image: Any) -> str:
    """What tells an image from another: its file's name, as the folders before it differ from copy to copy."""
    if isinstance(image, dict):
        image = image.get("path")
    return posixpath.basename(image)[:200] if is_safe_name(image) else str(image)[:200]


def _is_detailed_caption(where: str, task: str, turns: list[Turn]) -> bool:
    if task != "image_conversation" or len(turns) != 1 or not _DETAILED_FILE.search(where):
        return False
    return bool(_DETAILED_REQUEST.search(turns[0][0]))
