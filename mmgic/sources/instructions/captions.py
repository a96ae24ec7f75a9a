"""Captions as instructions: LaionGPT4V (detailed ones) and TextCaps.

LaionGPT4V: Parquet, or JSON lines, of "link" and "caption". TextCaps: {"data": [{"image_id", "caption_str",
"flickr_original_url"}, ...]}, a record per caption, up to five of an image; image ids are Open Images'.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from mmgic.errors import InputError
from mmgic.schema import KEPT, Interleaved, reject
from mmgic.settings import SourceSettings
from mmgic.sources.captions.pairs import http_url, url_id
from mmgic.sources.reading.files import annotation_paths, collapse_spaces, is_safe_name, text_id
from mmgic.sources.reading.index import RecordIndex
from mmgic.sources.reading.json_files import stream_json
from mmgic.sources.reading.records import source_records, table_records
from mmgic.sources.reading.shards import LocalImages
from mmgic.sources.rows import image_part, interleaved, row_image, text_part

_GPT4V_COLUMNS = {"link": ("link", "url", "image_url"), "caption": ("caption", "text")}


def read_laion_gpt4v(source: SourceSettings) -> Iterator[Interleaved]:
    """Yields a row per record; images that are not at hand are left to the download."""
    with RecordIndex() as index:
        local = LocalImages(source, index)
        index.build()
        for where, record in source_records(source, partial(table_records, columns=_GPT4V_COLUMNS)):
            url, caption = http_url(record["link"]), record["caption"]
            caption = caption.strip() if isinstance(caption, str) else ""
            record_id = url_id(url) if url else where
            problem = "" if url else f"{where} has no http(s) link"
            image = local.find(url=url)
            yield _caption_row(source.name, record_id, index, "detailed_caption", caption, image, url, problem)


def read_textcaps(source: SourceSettings) -> Iterator[Interleaved]:
    """Yields a row per image with its first caption, in the order of the images' first records.

    One caption of each image is used, as in LLaVA-1.5's mixture. The image is `<image_id>.jpg` of the image folder,
    otherwise it is left to the download by its url.
    """
    paths = annotation_paths(source)
    with RecordIndex() as index:
        local = LocalImages(source, index)
        if not index.fill("caption", (item for path in paths for item in _textcaps(path))):
            raise InputError(f"{paths[0]} has no 'data' list; set 'annotations' to TextCaps' file")
        index.build()
        for image_id in index.keys("caption"):
            records = index.get("caption", image_id)
            caption = next((text for text, _ in records if text), "")
            url = next((link for _, link in records if link), "")
            image = local.find(f"{image_id}.jpg", f"train_images/{image_id}.jpg", url=url)
            safe = bool(image_id) and is_safe_name(f"{image_id}.jpg")
            problem = "" if safe and (image or url) else f"there is no image '{image_id}.jpg', and no url"
            yield _caption_row(source.name, image_id, index, "image_caption", caption, image, url, problem)


def _textcaps(path: str) -> Iterator[tuple[str, Any]]:
    for record in stream_json(path, "data.item"):
        fields = record if isinstance(record, dict) else {}
        url = http_url(fields.get("flickr_original_url")) or http_url(fields.get("flickr_300k_url"))
        yield text_id(fields.get("image_id")), [collapse_spaces(fields.get("caption_str")), url]


def _caption_row(
    source: str, record_id: str, index: RecordIndex, task: str, caption: str, image: str, url: str, problem: str
) -> Interleaved:
    verdict = KEPT
    if problem:
        verdict = reject("bad_record", problem)
    elif not caption:
        verdict = reject("no_caption", "the record has no caption")
    rounds = [([image_part(0)], [text_part(caption)])] if verdict["keep"] else []
    row = interleaved(source, record_id, index.times_seen(record_id), task, rounds=rounds, **verdict)
    return {**row, "images": [row_image(image, url)]}
