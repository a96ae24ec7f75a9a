"""`<corpus>/sampled`: of a source that names a size, so many records, drawn by their ids (Table 14).

Which rows are drawn depends on the seed and their ids alone, and a smaller sample is a part of a larger one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from mmgic.pipelines.common import data_resources, sources_of
from mmgic.pipelines.places import places_of
from mmgic.schema import Corpus, reject
from mmgic.settings import Settings
from mmgic.stages.rows import EachRow
from mmgic.stages.run import run_stage
from mmgic.stages.sampling import RowSample, draw_sample, sample_key
from mmgic.stages.stage import Stage
from mmgic.stages.tables import Table, open_table, select


@dataclass(frozen=True)
class TakeSample:
    """Sets the rows aside that are not in the sample of their source; rows of other sources pass."""

    samples: Mapping[str, RowSample]

    def __call__(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        sample = self.samples.get(row["source"])
        if sample is None or sample.group(row["row_id"]) is not None:
            return row
        return {**row, **reject("not_sampled", f"{sample.size:,} of the source's {sample.rows:,} records are used")}


def run_sample(settings: Settings, corpus: Corpus, table: Table, output_schema: pa.Schema) -> Table:
    """Makes `<corpus>/sampled` from `table`; left out if no source of the corpus sets a `sample`."""
    sizes = {source.name: source.sample for source in sources_of(settings, corpus) if source.sample}
    if not sizes:
        return table
    name = f"{corpus}/sampled"

    def transform() -> EachRow:
        samples = {source: row_sample(name, table, [source], size, settings.seed) for source, size in sizes.items()}
        return EachRow(TakeSample(samples))

    stage = Stage(
        name,
        output_schema,
        transform,
        settings={"samples": sizes, "seed": settings.seed},
        resources=data_resources(settings),
    )
    return run_stage(stage, table, places_of(settings))


def row_sample(name: str, table: Table, sources: Sequence[str], size: int, seed: int) -> RowSample:
    """The sample of `size` kept rows of `table`, of `sources` alone if some are named, for what is called `name`.

    If there are fewer rows, all are taken and a line says so.
    """
    batches = open_table(table.folder).to_batches(columns=["row_id"], filter=select(sources))
    ids = (batch.column("row_id").to_numpy().astype(np.int64, copy=False) for batch in batches)
    sample = draw_sample(ids, size, sample_key(seed, name))
    if sample.size < size:
        of = f" of {', '.join(sources)}" if sources else ""
        print(f"{name}: {sample.rows:,} rows{of} for a sample of {size:,}; all of them are taken", flush=True)
    return sample
