"""The noun-phrase filter: extraction beside spaCy alone, and selection on millions of synthetic captions.

    python benchmarks/noun_phrases.py                          # en_core_web_sm, 5 M captions, minutes on one core
    python benchmarks/noun_phrases.py --pipeline en_core_web_md --captions 200000 --synthetic 50000000

Extraction: rows to phrases and their ids, as the stage does it, beside spaCy's own `nlp.pipe` on the same texts with
the same components, which parses them and gives no phrase. Selection: phrases are drawn from a Zipf distribution
instead of parsed, written as a phrases table, and go through the passes that Ray's tasks run, in a process of its own,
whose peak memory is told.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alternating import print_rates, rates

# isort: split
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmgic.noun_phrases.extract import BATCH, ExtractPhrases
from mmgic.noun_phrases.pool import (
    PoolPart,
    SelectRows,
    add_counts,
    count_phrases,
    crowded_phrases,
    make_pool,
    merge_smallest,
    smallest_of,
)
from mmgic.schema import KEPT, PHRASES
from mmgic.settings import PhraseSettings
from mmgic.stages import tables
from mmgic.stages.rows import blank_row
from mmgic.toy.world.scenes import make_scene
from mmgic.toy.world.text import captions

ROWS = 1000  # of a call, as in the stage
ROWS_PER_FILE = 250_000
SCENES = 2000
PHRASES_PER_CAPTION = 3.5
ZIPF = 1.25


def texts(number: int) -> list[str]:
    """Captions of toy scenes, repeated if there are not enough."""
    found: list[str] = []
    for index in range(SCENES):
        found += captions(make_scene(0, "train", index), np.random.default_rng(index), 5)
    return [found[i % len(found)] for i in range(number)]


def extraction(pipeline: str, number: int) -> dict[str, list[float]]:
    """Captions per second of the stage, of `nlp.pipe` alone, and of it with its noun chunks, round by round."""
    extract = ExtractPhrases(pipeline, {"blip": "caption_coco"})
    nlp = extract.nlp
    lines = texts(number)
    blank = {**blank_row(PHRASES), "source": "blip", **KEPT}
    rows = [{**blank, "row_id": i, "caption_coco": line} for i, line in enumerate(lines)]

    def ours() -> None:
        for start in range(0, number, ROWS):
            extract(rows[start : start + ROWS])

    def parsing() -> None:
        for _ in nlp.pipe(lines, batch_size=BATCH):
            pass

    def chunks() -> None:
        for doc in nlp.pipe(lines, batch_size=BATCH):
            list(doc.noun_chunks)

    ways = {"nlp.pipe alone": parsing, "nlp.pipe and its noun chunks": chunks, "the stage": ours}
    return rates(dict.fromkeys(ways, number), ways)


def write_synthetic(folder: Path, number: int) -> None:
    """A phrases table of `number` captions, in the columns that the passes read."""
    rng = np.random.default_rng(0)
    for start in range(0, number, ROWS_PER_FILE):
        rows = min(ROWS_PER_FILE, number - start)
        lengths = rng.poisson(PHRASES_PER_CAPTION, rows)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        # a phrase's rank spread over 64 bits; a caption that draws a phrase twice is rare and harmless here
        ids = rng.zipf(ZIPF, offsets[-1]).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        table = pa.table(
            {
                "row_id": rng.integers(-(2**63), 2**63, rows),
                "source": pa.array(["blip"] * rows),
                "keep": pa.array([True] * rows),
                "phrase_ids": pa.ListArray.from_arrays(offsets.astype(np.int32), ids),
            }
        )
        pq.write_table(table, folder / f"part-{start // ROWS_PER_FILE:05}.parquet")


def read(folder: Path) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    for batch in tables.open_table(str(folder)).to_batches(batch_readahead=1, fragment_readahead=1):
        lists = batch.column("phrase_ids")
        yield batch.column("row_id").to_numpy(), lists.value_lengths().to_numpy(), lists.flatten().to_numpy()


def selection(folder: Path, limits: PhraseSettings) -> dict[str, Any]:
    """CPU seconds of each pass, what they found, and the peak memory of this process in MiB before and after."""
    started = _peak()
    times = [time.process_time()]
    counts: PoolPart = add_counts(count_phrases(ids) for _, _, ids in read(folder))
    times.append(time.process_time())
    crowded = crowded_phrases(counts, limits)
    parts = (smallest_of(batch, 0, crowded, limits.captions_per_phrase) for batch in read(folder))
    pool = make_pool(counts, merge_smallest(parts, limits.captions_per_phrase), limits, 0)
    times.append(time.process_time())
    drawn = sum(int(pool.draws(*batch).sum()) for batch in read(folder))
    times.append(time.process_time())
    return {
        "distinct": len(counts[0]),
        "occurrences": int(counts[1].sum()),
        "frequent": len(pool.ids),
        "drawn": drawn,
        "seconds": [b - a for a, b in itertools.pairwise(times)],
        "memory": (started, _peak()),
    }


def row_rate(folder: Path, limits: PhraseSettings) -> float:
    """Rows per second through the selection stage's transform, on rows as Python objects."""
    batch = next(iter(tables.open_table(str(folder)).to_batches(batch_size=20 * ROWS)))
    counts = count_phrases(batch.column("phrase_ids").flatten().to_numpy())
    none = (np.empty(0, np.uint64), np.empty(0, np.uint64))
    select = SelectRows(make_pool(counts, none, limits, 0), ["blip"])
    rows = batch.to_pylist()
    began = time.process_time()
    for start in range(0, len(rows), ROWS):
        select(rows[start : start + ROWS])
    return len(rows) / (time.process_time() - began)


def _peak() -> float:
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kib / 1024 if sys.platform != "darwin" else kib / 1024**2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipeline", default="en_core_web_sm")
    parser.add_argument("--captions", type=int, default=6_000, help="that are parsed")
    parser.add_argument("--synthetic", type=int, default=5_000_000, help="captions of the selection")
    arguments = parser.parse_args()
    limits = PhraseSettings()

    with tempfile.TemporaryDirectory() as folder:
        write_synthetic(Path(folder), arguments.synthetic)
        with multiprocessing.get_context("spawn").Pool(1) as fresh:
            found = fresh.apply(selection, (Path(folder), limits))
            rows = fresh.apply(row_rate, (Path(folder), limits))
    print(f"extraction, {arguments.captions:,} captions, one core")
    print_rates(extraction(arguments.pipeline, arguments.captions), "nlp.pipe and its noun chunks", "captions/s")
    count, smallest, draw = found["seconds"]
    print(
        f"selection, {arguments.synthetic:,} captions: {found['occurrences']:,} phrases, {found['distinct']:,} "
        f"distinct, {found['frequent']:,} of {limits.min_count} captions or more; {found['drawn']:,} captions drawn\n"
        f"  counting {count:.1f}, smallest hashes {smallest:.1f}, drawing {draw:.1f} CPU seconds; "
        f"rows as Python objects {rows:,.0f}/s\n"
        f"  peak memory {found['memory'][1]:,.0f} MiB, {found['memory'][0]:,.0f} MiB of it before the first caption"
    )


if __name__ == "__main__":
    main()
