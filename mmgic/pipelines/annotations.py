"""The first table of a corpus: the records of all its sources (Appendix F.1, G.1, C.6, H.1)."""

from __future__ import annotations

import posixpath
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from mmgic.files import end_digest, file_digest, find_files
from mmgic.paths import absolute
from mmgic.pipelines.common import sources_of
from mmgic.pipelines.places import places_of
from mmgic.schema import SCHEMAS, Corpus
from mmgic.settings import Settings, SourceSettings
from mmgic.sources.formats import read_source
from mmgic.sources.reading.files import annotation_files, choices, joined
from mmgic.sources.reading.shards import image_column
from mmgic.stages.ingest import ingest
from mmgic.stages.places import Places
from mmgic.stages.tables import Table

# how often labels and images count, how many are used and what describes them matters to later stages alone
_LATER = ("min_label_count", "repeats", "corpus", "description_field", "sample")
_INSIDE = ("annotations", "images", "captions", "answers")  # names below the source's folder, or paths from the root
_OUTSIDE = ("karpathy", "flickr30k")  # paths of files that several sources share


def read_annotations(settings: Settings, corpus: Corpus) -> Table:
    """Makes `<corpus>/annotations` from all sources of the corpus."""
    places = places_of(settings)
    # whole paths, as every process of a cluster understands them
    sources = [replace(s, path=s.path and absolute(s.path)) for s in sources_of(settings, corpus)]
    return ingest(
        f"{corpus}/annotations",
        places,
        SCHEMAS[corpus],
        [partial(read_source, source) for source in sources],
        {"sources": [describe_source(source, places) for source in sources]},
        rows_per_file=settings.cluster.rows_per_block,
        max_error_rate=settings.cluster.max_error_rate,
    )


def describe_source(source: SourceSettings, places: Places) -> dict[str, Any]:
    """What the rows of a source depend on: its settings, and its files by name and content, wherever they lie."""
    fields = {name: value for name, value in asdict(source).items() if name not in ("path", *_LATER)}
    fields |= {name: _without_root(fields[name]) for name in _INSIDE}
    fields |= {name: posixpath.basename(fields[name].rstrip("/")) for name in _OUTSIDE}
    files: dict[str, str] = {}
    for path in (path for pattern in annotation_files(source) for path in find_files(pattern)):
        stored = places.stored_path(path, source.name)
        name = stored.removeprefix("{data}/") if stored != path else posixpath.basename(path)
        digests = {*files.get(name, "").split(), _digest(path)}  # of two folders' files of one name both
        files[name] = " ".join(sorted(digests))
    return {**fields, "files": files}


def _digest(path: str) -> str:
    """What tells a file's content; of a table that holds images, its end."""
    holds_images = path.endswith(".parquet") and image_column(path)
    return end_digest(path) if holds_images else file_digest(path)


def _without_root(names: str) -> str:
    """A setting of choices and their parts, with the last part of those that are paths from the root."""

    def name(part: str) -> str:
        return posixpath.basename(part.rstrip("/")) if part[:1] == "/" or "://" in part else part

    return " | ".join(" + ".join(map(name, joined(choice))) for choice in choices(names))
