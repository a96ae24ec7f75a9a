"""Rows of images with their captions of several kinds, known by url or at hand (Appendix G)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

from mmgic.schema import KEPT, CaptionedImage, reject
from mmgic.settings import SourceSettings
from mmgic.sources.reading.files import collapse_spaces
from mmgic.sources.reading.index import RecordIndex
from mmgic.sources.reading.records import source_records
from mmgic.sources.reading.shards import LocalImages
from mmgic.sources.rows import first_stays, source_key


def http_url(value: Any) -> str:
    """`value` without blanks around it, if it is an http(s) url of one line; otherwise ""."""
    url = value.strip() if isinstance(value, str) else ""
    return url if url.lower().startswith(("http://", "https://")) and len(url.split()) == 1 else ""


def url_id(url: str) -> str:
    """The id of a record that has none but its url."""
    return hashlib.blake2b(url.encode(errors="surrogatepass"), digest_size=10).hexdigest()


def captioned_image(
    source: str,
    image_id: str,
    times_seen: int,
    *,
    url: str = "",
    image_path: str = "",
    width: int = 0,
    height: int = 0,
    caption_origin: str = "",
    caption_coco: str = "",
    caption_capsfusion: str = "",
    keep: bool = True,
    reason: str = "",
    detail: str = "",
) -> CaptionedImage:
    """The row of an image with its captions."""
    row: CaptionedImage = {
        **source_key(source, image_id, times_seen),
        "url": url,
        "image_path": image_path,
        "width": width,
        "height": height,
        "caption_origin": caption_origin,
        "caption_coco": caption_coco,
        "caption_capsfusion": caption_capsfusion,
        "candidates": [],
        "drops": [],
        "keep": keep,
        "reason": reason,
        "detail": detail,
    }
    return first_stays(row, times_seen)


def bad_pair(source: str, image_id: str, times_seen: int, detail: str) -> CaptionedImage:
    """The row of a record that lacks what its format demands."""
    return captioned_image(source, image_id, times_seen, **reject("bad_record", detail))


def url_rows(
    source: SourceSettings, read: Callable[[str], Iterator[tuple[int, dict[str, Any]]]]
) -> Iterator[CaptionedImage]:
    """Yields a row per record of a source that names its images by url.

    `read` yields the numbered records of one file: `url`, and captions under the names of their columns. Raises
    InputError like `source_records`.
    """
    with RecordIndex() as index:
        rows = UrlRows(source, index)
        index.build()
        for where, record in source_records(source, read):
            yield rows.row(record.pop("url"), where, **record)


class UrlRows:
    """Makes the rows of a source that names its images by url.

    Images that are at hand in the source's `images` folder are found by their url (see
    `mmgic.sources.reading.shards`); the others are left to the download.
    """

    def __init__(self, source: SourceSettings, index: RecordIndex) -> None:
        """`index` must not be built yet."""
        self._source = source.name
        self._index = index
        self._images = LocalImages(source, index)

    def row(self, url: Any, where: str, **captions: Any) -> CaptionedImage:
        """The row of one record. `where` says where it stands, which is its id where it has no url."""
        given, url = url, http_url(url)
        if not url:
            detail = f"{where}: {str(given)[:200]!r} is no http(s) url" if given else f"{where} has no url"
            return bad_pair(self._source, where, self._index.times_seen(where), detail)
        texts: dict[str, Any] = {kind: collapse_spaces(caption) for kind, caption in captions.items()}
        verdict = KEPT if any(texts.values()) else reject("no_caption", f"{where} has no caption")
        found, seen = self._images.by_url(url), self._index.times_seen(url)
        return captioned_image(self._source, url_id(url), seen, url=url, **found, **texts, **verdict)
