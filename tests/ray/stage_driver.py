"""A driver that the tests kill: python stage_driver.py CLUSTER TABLE OUTPUT SECONDS_PER_ROW."""

import sys
import time
from dataclasses import fields
from functools import partial

import pyarrow as pa
import ray

from mmgic.schema import KEPT, KEY, VERDICT, record_generator, reject
from mmgic.stages.places import Places
from mmgic.stages.rows import EachRow
from mmgic.stages.run import run_stage
from mmgic.stages.stage import Resources, Stage
from mmgic.stages.tables import Table, read_table

NUMBERS = pa.schema([*KEY, pa.field("number", pa.int64()), *VERDICT])
DRAWN = pa.schema([*KEY, pa.field("number", pa.int64()), pa.field("drawn", pa.list_(pa.float64())), *VERDICT])


def draw(row: dict, seconds: float = 0) -> dict:
    """A row's work: some time, a few random numbers of its own, and every seventh row set aside."""
    time.sleep(seconds)
    generator = record_generator(0, "draw", row["source"], row["image_id"])
    verdict = reject("no_objects", f"number {row['number']}") if row["number"] % 7 == 0 else KEPT
    return {**row, "drawn": generator.random(row["number"] % 5).tolist(), **verdict}


def run(table: Table, output: str, seconds: float = 0, **changes: object) -> Table:
    """Runs the stage "draw" with `changes` of its fields or its resources; its table is `<output>/draw`."""
    names = {field.name for field in fields(Resources)}
    work = {"rows_per_block": 40, "rows_per_call": 10} | {k: v for k, v in changes.items() if k in names}
    given = {"make_transform": partial(EachRow, partial(draw, seconds=seconds)), "settings": {"seed": 0}}
    given |= {k: v for k, v in changes.items() if k not in names}
    return run_stage(Stage("draw", DRAWN, resources=Resources(**work), **given), table, Places(output))


if __name__ == "__main__":
    cluster, read, output, seconds = sys.argv[1:]
    ray.init(address=cluster, log_to_driver=False)
    run(read_table(read), output, float(seconds))
