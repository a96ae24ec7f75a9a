"""Lists of urls and captions of the web: CC3M, CC12M and SBU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import zip_longest
from typing import Any

from mmgic.errors import InputError
from mmgic.settings import SourceSettings
from mmgic.sources.captions.pairs import UrlRows
from mmgic.sources.reading.files import stream_json
from mmgic.sources.reading.index import RecordIndex
from mmgic.sources.reading.records import annotation_paths, text_lines

Records = Iterator[tuple[int, Any, Any]]  # number from 1, url, caption


def read_cc3m(source: SourceSettings) -> Iterator[dict[str, Any]]:
    """Yields a row per line `caption<TAB>url` (GCC-training.tsv); see `mmgic.sources.read_source`."""
    paths = annotation_paths(source, ("*GCC-training.tsv", "*.tsv"), "GCC-training.tsv")
    return _rows(source, paths, partial(_tab_separated, url_first=False))


def read_cc12m(source: SourceSettings) -> Iterator[dict[str, Any]]:
    """Yields a row per line `url<TAB>caption` (cc12m.tsv); see `mmgic.sources.read_source`."""
    paths = annotation_paths(source, ("cc12m.tsv", "*.tsv"), "cc12m.tsv")
    return _rows(source, paths, partial(_tab_separated, url_first=True))


def read_sbu(source: SourceSettings) -> Iterator[dict[str, Any]]:
    """Yields a row per url of sbu-captions-all.json; see `mmgic.sources.read_source`."""
    return _rows(source, annotation_paths(source, ("sbu-captions-all.json",), "sbu-captions-all.json"), _parallel_lists)


def _rows(source: SourceSettings, paths: list[str], read: Callable[[str], Records]) -> Iterator[dict[str, Any]]:
    with RecordIndex() as index:
        rows = UrlRows(source, index)
        index.build()
        for path in paths:
            number = 0
            for number, url, caption in read(path):
                yield rows.row(url, f"{path.rpartition('/')[2]}#{number}", caption_origin=caption)
            if not number:
                raise InputError(f"{path} holds no urls; check the 'format' of source '{source.name}'")


def _tab_separated(path: str, url_first: bool) -> Records:
    for number, line in text_lines(path):
        # a caption may hold tabs, an url does not
        fields = (line or "").split("\t", 1) if url_first else (line or "").rsplit("\t", 1)[::-1]
        yield number, fields[0], fields[1] if len(fields) == 2 else None


def _parallel_lists(path: str) -> Records:
    """{"image_urls": [...], "user_ids": [...], "captions": [...]}: both lists are read side by side."""
    both = zip_longest(stream_json(path, "image_urls.item"), stream_json(path, "captions.item"))
    return ((number, url, caption) for number, (url, caption) in enumerate(both, start=1))
