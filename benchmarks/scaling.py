"""Does a second worker halve a stage's time? The documents stage (CPU-bound) on Ray with one worker and with two.

    python benchmarks/scaling.py                     # 40,000 rows, about 3 minutes on two idle cores

Prints rows per second of both and the efficiency, time of one worker / (2 x time of two). The clock runs from a stage's
start to its manifest, so Ray's own start of a stage counts; an idle machine matters.
"""

import argparse
import os
import tempfile
from functools import partial
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")

import ray

from mmgic import schema
from mmgic.documents.multi_grained import MakeDocument
from mmgic.model.assemble import vocabulary_of
from mmgic.pipelines.mmgic import build_mmgic
from mmgic.presets import preset
from mmgic.settings import Settings, load_settings
from mmgic.stages import tables
from mmgic.stages.ingest import ingest
from mmgic.stages.places import Places
from mmgic.stages.rows import EachRow, Row
from mmgic.stages.run import run_stage
from mmgic.stages.session import ray_session
from mmgic.stages.stage import Resources, Stage
from mmgic.stages.tables import Table
from mmgic.toy.datasets.write import make_world


def many_rows(table: str, count: int) -> list[Row]:
    """`count` rows made of the kept rows of `table`, each under an id of its own."""
    rows = [row for row in tables.open_table(table).to_table(filter=tables.select()).to_pylist() if row["objects"]]
    copies = (rows[i % len(rows)] for i in range(count))
    return [{**row, "image_id": str(i), "row_id": schema.row_id("copies", str(i))} for i, row in enumerate(copies)]


def rows_per_second(settings: Settings, table: Table, output: str, workers: int) -> float:
    make = MakeDocument.of(settings, vocabulary_of(settings), descriptions=settings.descriptions, repeat=0)
    stage = Stage(
        name=f"documents_{workers}",
        schema=schema.DOCUMENT,
        make_transform=partial(EachRow, make, repeat=0),
        settings={},
        resources=Resources(workers=workers),
    )
    manifest = run_stage(stage, table, Places(output)).manifest
    return manifest.rows_out / manifest.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=40_000)
    count = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder, ray_session():
        settings = load_settings(preset("toy"), None, [f"output={folder}"])
        make_world(Path(folder) / "world", 400, 0)
        build_mmgic(settings, vocabulary_of(settings))
        copies = ray.put(many_rows(f"{folder}/mmgic/tokens", count))
        table = ingest("copies", Places(folder), schema.TOKENIZED_IMAGE, [lambda: ray.get(copies)], {})
        rates = [rows_per_second(settings, table, folder, workers) for workers in (1, 2)]
    print(f"{'workers':<8} {'rows/s':>8}")
    for workers, rate in enumerate(rates, start=1):
        print(f"{workers:<8} {rate:>8,.0f}")
    print(f"efficiency of 2 workers: {rates[1] / (2 * rates[0]):.0%}")


if __name__ == "__main__":
    main()
