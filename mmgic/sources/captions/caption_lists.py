"""Lists of urls and captions of the web: CC3M, CC12M and SBU."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import zip_longest
from typing import Any

from mmgic.schema import CaptionedImage
from mmgic.settings import SourceSettings
from mmgic.sources.captions.pairs import url_rows
from mmgic.sources.reading.json_files import stream_json
from mmgic.sources.reading.opening import text_lines

Records = Iterator[tuple[int, dict[str, Any]]]  # number from 1; url and caption_origin


def read_cc3m(source: SourceSettings) -> Iterator[CaptionedImage]:
    """Yields a row per line `caption<TAB>url` (GCC-training.tsv); see `mmgic.sources.read_source`."""
    return url_rows(source, partial(_tab_separated, url_first=False))


def read_cc12m(source: SourceSettings) -> Iterator[CaptionedImage]:
    """Yields a row per line `url<TAB>caption` (cc12m.tsv); see `mmgic.sources.read_source`."""
    return url_rows(source, partial(_tab_separated, url_first=True))


def read_sbu(source: SourceSettings) -> Iterator[CaptionedImage]:
    """Yields a row per url of sbu-captions-all.json; see `mmgic.sources.read_source`."""
    return url_rows(source, _parallel_lists)


def _tab_separated(path: str, url_first: bool) -> Records:
    for number, line in text_lines(path):
        # a caption may hold tabs, an url does not
        fields = (line or "").split("\t", 1) if url_first else (line or "").rsplit("\t", 1)[::-1]
        yield number, {"url": fields[0], "caption_origin": fields[1] if len(fields) == 2 else None}


def _parallel_lists(path: str) -> Records:
    """{"image_urls": [...], "user_ids": [...], "captions": [...]}: both lists are read side by side."""
    both = zip_longest(stream_json(path, "image_urls.item"), stream_json(path, "captions.item"))
    return enumerate(({"url": url, "caption_origin": caption} for url, caption in both), start=1)
