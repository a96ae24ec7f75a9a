"""`ic/unique`: image-caption sources that name their images by url overlap; of one url's records one is kept."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmgic.pipelines.common import data_resources, sources_of
from mmgic.pipelines.places import places_of
from mmgic.schema import CAPTIONED_IMAGE
from mmgic.settings import Settings
from mmgic.sources.copies import COLUMNS, ENTRY, RejectCopies, later_copies_on_disk, url_entries
from mmgic.sources.formats import FORMATS
from mmgic.stages.passes import map_blocks
from mmgic.stages.rows import EachRow
from mmgic.stages.run import run_stage
from mmgic.stages.stage import Stage
from mmgic.stages.tables import Table


def run_unique(settings: Settings, table: Table) -> Table:
    """Makes `ic/unique` from the annotations: images that a source listed before has are set aside.

    The paper counts unique images (52M); BLIP's LAION captions and CapsFusion, for one, share urls. With fewer than two
    sources that may, the stage is left out.
    """
    sources = enumerate(sources_of(settings, "ic"))
    ranks = {source.name: i for i, source in sources if FORMATS[source.format].by_url}
    if len(ranks) < 2:
        return table

    def transform() -> EachRow:
        copies = later_copies_on_disk(_entries(table, ranks, settings.cluster.data_workers))
        return EachRow(RejectCopies(copies, "a record before, of this source or one listed earlier, has this url"))

    stage = Stage(
        "ic/unique", CAPTIONED_IMAGE, transform, settings={"order": list(ranks)}, resources=data_resources(settings)
    )
    return run_stage(stage, table, places_of(settings))


def _entries(table: Table, ranks: dict[str, int], workers: int) -> Iterator[NDArray[np.void]]:
    def block(batch: pa.Table) -> pa.Table:
        entries = url_entries(batch, ranks)
        return pa.table({name: entries[name] for name in COLUMNS})

    for part in map_blocks(table, block, workers, ("row_id", "source", "url", "keep")):
        entries = np.empty(len(part), ENTRY)
        for name in COLUMNS:
            entries[name] = part.column(name).to_numpy()
        yield entries
