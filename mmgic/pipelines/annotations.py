"""The first table of a corpus: the records of all its sources (Appendix F.1, G.1, C.6, H.1)."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial

from mmgic.files import file_digests
from mmgic.pipelines.common import places_of, sources_of
from mmgic.schema import SCHEMAS, Corpus
from mmgic.settings import Settings
from mmgic.sources.formats import read_source
from mmgic.sources.reading.files import annotation_files
from mmgic.stages.ingest import ingest
from mmgic.stages.tables import Table


def read_annotations(settings: Settings, corpus: Corpus) -> Table:
    """Makes `<corpus>/annotations` from all sources of the corpus."""
    # how often a source's labels and images count, and what describes them, matters to later stages alone
    later = ("min_label_count", "repeats", "corpus", "description_field")
    sources = sources_of(settings, corpus)
    described = [
        {**{k: v for k, v in asdict(source).items() if k not in later}, "files": file_digests(annotation_files(source))}
        for source in sources
    ]
    return ingest(
        f"{corpus}/annotations",
        places_of(settings),
        SCHEMAS[corpus],
        [partial(read_source, source) for source in sources],
        {"sources": described},
        rows_per_file=settings.cluster.rows_per_block,
        max_error_rate=settings.cluster.max_error_rate,
    )
