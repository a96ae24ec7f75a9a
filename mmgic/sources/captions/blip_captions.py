"""BLIP-Captions: two JSON arrays of {"url", "caption"}, captions of the web and synthesized ones, joined by url.

`annotations` names the web file (ccs_filtered.json, laion_filtered.json), `captions` the synthetic one
(ccs_synthetic_filtered_large.json, laion_synthetic_filtered_large.json). BLIP filtered each file by itself, so many
urls are in one alone. Files of {"image", "caption"}, as its training code reads, name images of the `images` folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmgic.errors import InputError
from mmgic.schema import CaptionedImage, reject
from mmgic.settings import SourceSettings
from mmgic.sources.captions.pairs import UrlRows, captioned_image, http_url, url_id
from mmgic.sources.reading.files import ImageFinder, collapse_spaces, source_file
from mmgic.sources.reading.index import RecordIndex
from mmgic.sources.reading.json_files import stream_json


def read_blip_captions(source: SourceSettings) -> Iterator[CaptionedImage]:
    """Yields a row per record of the web file, then one per url that only the synthetic file knows.

    Only images with both captions are kept (G.1); of an image's synthetic captions the first one counts. See
    `mmgic.sources.read_source`.
    """
    web = source_file(source, source.annotations, "annotations")
    synthetic = source_file(source, source.captions, "captions")
    with RecordIndex() as index:
        if not index.fill("synthetic", _captions(synthetic)):
            raise _not_captions(synthetic)
        rows = UrlRows(source, index)
        index.build()
        finder: ImageFinder | None = None
        records = 0
        for records, record in enumerate(stream_json(web, "item"), start=1):
            name, caption = _fields(record)
            synthesized = next(iter(index.get("synthetic", name)), "")
            path = ""
            if not http_url(name):
                finder = finder or ImageFinder(source)
                path = finder.path(name)
            if not path:
                row = rows.row(name, f"record {records}", caption_origin=caption, caption_coco=synthesized)
            else:
                row = captioned_image(
                    source.name,
                    name,
                    index.times_seen(name),
                    image_path=path,
                    caption_origin=caption,
                    caption_coco=synthesized,
                )
            yield _needs_both(row)
        if not records:
            raise _not_captions(web)
        for name, _ in index.unseen(["synthetic"]):
            image_id, url = (url_id(name), name) if http_url(name) else (name, "")
            verdict = reject("no_caption", "the image has no caption of the web")
            yield captioned_image(source.name, image_id, 0, url=url, **verdict)


def _not_captions(path: str) -> InputError:
    return InputError(f"{path} is not BLIP's: it should be a list of {{url, caption}} records; download it again")


def _captions(path: str) -> Iterator[tuple[str, Any]]:
    return ((name, caption) for name, caption in map(_fields, stream_json(path, "item")) if name and caption)


def _fields(record: Any) -> tuple[str, str]:
    """The url (or image name) and the caption of a record, each "" if it has none."""
    record = record if isinstance(record, dict) else {}
    name = record.get("url", record.get("image"))
    return name.strip() if isinstance(name, str) else "", collapse_spaces(record.get("caption"))


def _needs_both(row: CaptionedImage) -> CaptionedImage:
    if row["keep"] and not (row["caption_origin"] and row["caption_coco"]):
        missing = "caption of the web" if row["caption_coco"] else "synthetic caption"
        return {**row, **reject("no_caption", f"the image has no {missing}")}
    return row
