"""Does a second worker halve a stage's time? The documents stage (CPU-bound) on Ray with one worker and with two.

    python benchmarks/scaling.py                     # 40,000 rows, three rounds, about 5 minutes on two cores

One worker and two take turns. CPU time per row is that of all processes, Ray's own by what they are: it tells what a
second worker costs whatever else the machine does. Efficiency is CPU time per row with one worker / with two, and in
wall time that of one worker / (2 x that of two), from a stage's start to its manifest; there an idle machine matters,
and on two cores the driver and Ray's servers take their share of them.
"""

import argparse
import os
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from statistics import median

import alternating  # noqa: F401

# isort: split
import psutil
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

TASKS = "tasks: reading, the work, writing"


def many_rows(table: str, count: int) -> list[Row]:
    """`count` rows made of the kept rows of `table`, each under an id of its own."""
    rows = [row for row in tables.open_table(table).to_table(filter=tables.select()).to_pylist() if row["objects"]]
    copies = (rows[i % len(rows)] for i in range(count))
    return [{**row, "image_id": str(i), "row_id": schema.row_id("copies", str(i))} for i, row in enumerate(copies)]


def run_documents(settings: Settings, table: Table, output: str, name: str, workers: int) -> None:
    make = MakeDocument.of(settings, vocabulary_of(settings), descriptions=settings.descriptions, repeat=0)
    stage = Stage(
        name=name,
        schema=schema.DOCUMENT,
        make_transform=partial(EachRow, make, repeat=0),
        settings={},
        resources=Resources(workers=workers),
    )
    run_stage(stage, table, Places(output))


def kind_of(process: psutil.Process, driver: int) -> str:
    """Which part of the system a process is."""
    if process.pid == driver:
        return "the driver"
    title = " ".join(process.cmdline()[:2])
    if "MapBatches" in title or "ReadParquet" in title or "Write" in title or "ray::IDLE" in title:
        return TASKS
    return "Ray's actors (tally, skipping, statistics)" if title.startswith("ray::") else "Ray's servers and agents"


def cpu_seconds() -> dict[tuple[int, str], float]:
    """CPU seconds so far of this process and all below it, ended ones with the process that awaited them."""
    own = psutil.Process()
    found = {}
    for process in (own, *own.children(recursive=True)):
        with suppress(psutil.Error):
            times = process.cpu_times()
            found[process.pid, kind_of(process, own.pid)] = sum(times[:4])
    return found


def spent(before: Mapping[tuple[int, str], float], after: Mapping[tuple[int, str], float]) -> Counter[str]:
    """Seconds by kind. A worker's title changes with its task, so a process counts as what it was last."""
    earlier = {pid: seconds for (pid, _), seconds in before.items()}
    kinds: Counter[str] = Counter()
    for (pid, kind), seconds in after.items():
        kinds[kind] += seconds - earlier.get(pid, 0.0)
    return kinds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--rounds", type=int, default=3)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ray_session():
        settings = load_settings(preset("toy"), None, [f"output={folder}"])
        make_world(Path(folder) / "world", 400, 0)
        build_mmgic(settings, vocabulary_of(settings))
        copies = ray.put(many_rows(f"{folder}/mmgic/tokens", flags.rows))
        table = ingest("copies", Places(folder), schema.TOKENIZED_IMAGE, [lambda: ray.get(copies)], {})
        found: dict[int, list[tuple[float, Counter[str]]]] = {1: [], 2: []}
        for number in range(flags.rounds):
            for workers in (1, 2) if number % 2 == 0 else (2, 1):
                wall, before = time.perf_counter(), cpu_seconds()
                run_documents(settings, table, folder, f"documents_{workers}_{number}", workers)
                found[workers].append((time.perf_counter() - wall, spent(before, cpu_seconds())))
    print_table(found, flags.rows)


def print_table(found: Mapping[int, Sequence[tuple[float, Counter[str]]]], rows: int) -> None:
    kinds = sorted({kind for runs in found.values() for _, used in runs for kind in used})
    print(f"{'CPU ms a row: median (lowest to highest)':<46}{'one worker':>24}{'two workers':>24}")
    for kind in (*kinds, "all"):
        cells = []
        for runs in found.values():
            ms = [1000 * (used.total() if kind == "all" else used[kind]) / rows for _, used in runs]
            cells.append(f"{median(ms):.3f} ({min(ms):.3f} to {max(ms):.3f})")
        print(f"{kind:<46}" + "".join(f"{cell:>24}" for cell in cells))
    per_row, work = (
        [median(used.total() if whole else used[TASKS] for _, used in found[workers]) for workers in (1, 2)]
        for whole in (True, False)
    )
    wall = [median(seconds for seconds, _ in found[workers]) for workers in (1, 2)]
    print(f"efficiency of two workers, CPU time of everything: {per_row[0] / per_row[1]:.0%}; of the tasks: ", end="")
    print(f"{work[0] / work[1]:.0%}; wall time: {wall[0] / (2 * wall[1]):.0%} ({os.cpu_count()} cores)")


if __name__ == "__main__":
    main()
