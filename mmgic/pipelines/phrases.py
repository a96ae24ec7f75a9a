"""The noun-phrase filter as stages: `ic/phrases` parses each caption once, `ic/selected` keeps those drawn (G.2).

Between them, passes read nothing but ids from the phrases table: one counts phrases, one finds the smallest hashes of
those that occur often, one counts what is left. In the selected table's folder lie the frequencies before and after the
filter (Figure 13).
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pyarrow as pa

from mmgic.analysis.phrases import FREQUENCIES, FREQUENCY_PLOT, frequencies, frequency_plot
from mmgic.files import file_digests, write_text
from mmgic.noun_phrases.extract import ExtractPhrases, pipeline_files
from mmgic.noun_phrases.pool import (
    Captions,
    Pool,
    PoolPart,
    SelectRows,
    add_counts,
    count_phrases,
    crowded_phrases,
    make_pool,
    merge_smallest,
    smallest_of,
)
from mmgic.pipelines.common import data_resources, sources_of
from mmgic.pipelines.places import places_of
from mmgic.schema import CAPTIONED_IMAGE, PHRASES
from mmgic.settings import Settings
from mmgic.sources.formats import FORMATS
from mmgic.stages.passes import map_blocks
from mmgic.stages.run import run_stage
from mmgic.stages.stage import Stage
from mmgic.stages.tables import Table, select


def select_by_phrases(settings: Settings, table: Table) -> Table:
    """Makes `ic/selected` from the image-caption table `table`; left out if the filter applies to none of the sources.

    Rows of sources that it does not apply to pass. Raises InputError if the spaCy pipeline is missing.
    """
    sources = sources_of(settings, "ic")
    captions = {source.name: FORMATS[source.format].filtered_caption for source in sources}
    columns = {source: column for source, column in captions.items() if column}
    if not columns:
        return table
    places, name = places_of(settings), "ic/selected"
    phrases = _run_phrases(settings, table, columns)
    stage = Stage(
        name,
        CAPTIONED_IMAGE,
        partial(_selection, settings, phrases, tuple(columns), places.folder(name)),
        settings={
            "filtered": sorted(columns),
            "min_count": settings.phrases.min_count,
            "captions_per_phrase": settings.phrases.captions_per_phrase,
            "seed": settings.seed,
        },
        resources=data_resources(settings, rows_per_call=1000),
    )
    return run_stage(stage, phrases, places)


def _run_phrases(settings: Settings, table: Table, columns: dict[str, str]) -> Table:
    pipeline = settings.phrases.pipeline
    stage = Stage(
        "ic/phrases",
        PHRASES,
        partial(ExtractPhrases, pipeline, columns),
        settings={"captions": columns, "pipeline": sorted(file_digests(pipeline_files(pipeline)).values())},
        actors=True,
        resources=data_resources(settings, rows_per_call=1000),
    )
    return run_stage(stage, table, places_of(settings))


def _selection(settings: Settings, table: Table, sources: tuple[str, ...], output: str) -> SelectRows:
    """Runs the passes over a phrases table, notes the frequencies in `output`, and returns the selection of rows."""
    print("ic/selected: counting noun phrases", flush=True)
    limits = settings.phrases
    counts = add_counts(_parts(settings, table, sources, _count))
    smallest = partial(
        smallest_of, seed=settings.seed, crowded=crowded_phrases(counts, limits), number=limits.captions_per_phrase
    )
    hashes = merge_smallest(_parts(settings, table, sources, smallest), limits.captions_per_phrase)
    pool = make_pool(counts, hashes, limits, settings.seed)
    after = add_counts(_parts(settings, table, sources, partial(_count_drawn, pool=pool)))
    found = frequencies(counts[1], after[1], limits)
    write_text(posixpath.join(output, FREQUENCY_PLOT), frequency_plot(found))
    write_text(posixpath.join(output, FREQUENCIES), found.to_json())
    return SelectRows(pool, sources)


def _count(captions: Captions) -> PoolPart:
    return count_phrases(captions[2])


def _count_drawn(captions: Captions, pool: Pool) -> PoolPart:
    row_ids, lengths, ids = captions
    return count_phrases(ids[np.repeat(pool.draws(row_ids, lengths, ids), lengths)])


def _parts(
    settings: Settings, table: Table, sources: tuple[str, ...], work: Callable[[Captions], PoolPart]
) -> Iterator[PoolPart]:
    """What `work` returns for the kept rows of each block of a phrases table, as it is done."""

    def block(batch: pa.Table) -> pa.Table:
        batch = batch.filter(select(sources))
        ids = batch.column("phrase_ids").combine_chunks()
        lengths = ids.value_lengths().to_numpy(zero_copy_only=False)
        row_ids = batch.column("row_id").to_numpy()
        keys, values = work((row_ids, lengths, ids.flatten().to_numpy(zero_copy_only=False)))
        return pa.table({"key": keys.astype(np.uint64), "value": values.astype(np.uint64)})

    columns = ("row_id", "source", "keep", "phrase_ids")
    for part in map_blocks(table, block, settings.cluster.data_workers, columns):
        yield part.column("key").to_numpy(), part.column("value").to_numpy()
