"""Annotations of Open Images' form end to end: CSV files to cleaned rows in Parquet, beside bare reads of these files.

    python benchmarks/annotations.py                    # 20,000 images, about half a minute on one CPU core
    python benchmarks/annotations.py --images 1000000   # the published figure; takes 4 GB of disk

The files are random but of the real ones' columns and proportions: 8.4 boxes and 1.8 relationships an image (most of
them attributes), sizes, narratives of every third image. Each step runs in a process of its own, whose CPU time (of
all threads) and peak memory (resident set) are given; lines are those of the CSV files.
"""

import argparse
import functools
import json
import multiprocessing
import operator
import resource
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from mmgic.cleaning.clean import clean_image
from mmgic.cleaning.counting import count_objects, count_predicates
from mmgic.cleaning.labels import LabelCounts, kept_labels
from mmgic.schema import ANNOTATED_IMAGE
from mmgic.settings import CleaningSettings, SourceSettings
from mmgic.sources.formats import read_source
from mmgic.stages.rows import Row, to_table

BLOCK = 2000  # rows of a Parquet file's row group, as in the stages
CLASSES = [f"/m/{number:05x}" for number in range(601)]
ATTRIBUTES = [f"/m/a{number:04x}" for number in range(15)]
PREDICATES = [f"relates_to_{number}" for number in range(30)]
FLAGS = ["IsOccluded", "IsTruncated", "IsGroupOf", "IsDepiction", "IsInside"]
EDGES = ["XMin", "XMax", "YMin", "YMax"]
CLEANING = CleaningSettings()


# ---------------------------------------------------------------- the files


def generate(folder: Path, images: int) -> int:
    """Writes the files and returns how many lines they have."""
    (folder / "images/train").mkdir(parents=True)
    lines = 0
    writers: dict[str, pa.csv.CSVWriter] = {}
    options = pa.csv.WriteOptions(quoting_style="none", quoting_header="none")
    with open(folder / "open_images_train_v6_localized_narratives-00000-of-00010.jsonl", "w") as narratives:
        for start in range(0, images, 20_000):
            rng = np.random.default_rng(start)
            ids = np.array([f"{number:016x}" for number in rng.integers(0, 1 << 63, min(20_000, images - start))])
            for name, table in _tables(ids, rng).items():
                if name not in writers:
                    writers[name] = pa.csv.CSVWriter(folder / name, table.schema, write_options=options)
                writers[name].write_table(table)
                lines += len(table)
            for image_id in ids[::3]:
                narratives.write(_narrative(image_id, rng))
    for writer in writers.values():
        writer.close()
    for name, keys in (("class-descriptions-boxable", CLASSES), ("oidv6-attributes-description", ATTRIBUTES)):
        (folder / f"{name}.csv").write_text("".join(f"{key},Name of {key}\n" for key in keys))
    return lines


@functools.cache
def six_digits() -> pa.Array:
    """The texts 0.000000 to 0.999999."""
    return pa.array([f"0.{number:06d}" for number in range(1_000_000)])


def _tables(ids: np.ndarray, rng: np.random.Generator) -> dict[str, pa.Table]:
    def text(values: np.ndarray) -> pa.Array:
        return six_digits().take(pa.array((values * 1e6).astype(np.int32)))

    count = rng.poisson(8.4, len(ids)).clip(1)
    owner, boxes = np.repeat(ids, count), int(count.sum())
    x, y = np.sort(rng.random((boxes, 2)), 1), np.sort(rng.random((boxes, 2)), 1)
    edges = {name: text(values) for name, values in zip(EDGES, (*x.T, *y.T), strict=True)}
    labels = np.array(CLASSES)[rng.zipf(1.3, boxes) % len(CLASSES)]
    columns = {
        "ImageID": owner,
        "Source": ["xclick"] * boxes,
        "LabelName": labels,
        "Confidence": ["1"] * boxes,
        **edges,
    }
    columns |= {flag: rng.choice(["0", "1", "-1"], boxes, p=[0.9, 0.09, 0.01]) for flag in FLAGS}
    columns |= {f"XClick{i}{axis}": text(rng.random(boxes)) for axis in "XY" for i in range(1, 5)}

    first = rng.integers(0, boxes - 1, int(1.8 * len(ids)))
    attribute = (rng.random(len(first)) < 0.89) | (owner[first] != owner[first + 1])
    second = np.where(attribute, first, first + 1)
    relations = {
        "ImageID": owner[first],
        "LabelName1": labels[first],
        "LabelName2": np.where(attribute, rng.choice(ATTRIBUTES, len(first)), labels[second]),
        **{f"{edge}{end}": edges[edge].take(pa.array(at)) for end, at in ((1, first), (2, second)) for edge in EDGES},
        "RelationshipLabel": np.where(attribute, "is", rng.choice(PREDICATES, len(first))),
    }
    sizes = {
        "image_id": ids,
        "image_w": rng.integers(200, 1025, len(ids)),
        "image_h": rng.integers(200, 1025, len(ids)),
    }
    return {
        "oidv6-train-annotations-bbox.csv": pa.table(columns),
        "oidv6-train-annotations-vrd.csv": pa.table(relations),
        "train_sizes-00.csv": pa.table(sizes),
    }


def _narrative(image_id: str, rng: np.random.Generator) -> str:
    trace = [{"x": x, "y": y, "t": t} for t, (x, y) in enumerate(rng.random((40, 2)).round(4).tolist())]
    caption = " ".join(["In this image there is a thing"] * int(rng.integers(2, 9)))
    record = {"dataset_id": "open_images_train", "image_id": str(image_id), "annotator_id": int(rng.integers(100))}
    return json.dumps({**record, "caption": caption, "timed_caption": [], "traces": [trace]}) + "\n"


# ---------------------------------------------------------------- reading them


def bare_pyarrow(folder: Path) -> int:
    """All CSV files through pyarrow's streaming reader, as text."""
    lines = 0
    for path in folder.glob("*train*.csv"):
        with open(path) as file:
            types = dict.fromkeys(file.readline().strip().split(","), pa.string())
        for batch in pa.csv.open_csv(path, convert_options=pa.csv.ConvertOptions(column_types=types)):
            lines += batch.num_rows
    return lines


def bare_duckdb(folder: Path) -> int:
    """All CSV files through DuckDB into Parquet."""
    database = duckdb.connect(config={"memory_limit": "1GB", "temp_directory": str(folder / "spill")})
    database.execute("SET enable_progress_bar = false")
    lines = 0
    for path in folder.glob("*train*.csv"):
        query = f"COPY (FROM read_csv('{path}', all_varchar=true)) TO '{folder}/bare.parquet'"
        lines += database.execute(query).fetchall()[0][0]
    return lines


def source_of(folder: Path) -> SourceSettings:
    return SourceSettings(name="open_images", format="open_images", path=str(folder))


def read_annotations(folder: Path) -> int:
    return write(folder / "annotations.parquet", read_source(source_of(folder)))


def clean_annotations(folder: Path) -> int:
    """Both counting passes and the cleaning pass."""
    table, source = folder / "annotations.parquet", source_of(folder)
    objects = total(table, partial(count_objects, source=source, cleaning=CLEANING))
    labels = kept_labels(objects, source, CLEANING)
    predicates = total(table, partial(count_predicates, labels=labels, source=source, cleaning=CLEANING))
    objects += predicates
    labels = kept_labels(objects, source, CLEANING)
    rows = (clean_image(row, labels, CLEANING) for block in blocks(table) for row in block)
    return write(folder / "cleaned.parquet", rows)


def blocks(table: Path) -> Iterator[list[Row]]:
    for batch in pq.ParquetFile(table).iter_batches(BLOCK):
        yield batch.to_pylist()


def total(table: Path, count: Callable[[list[Row]], LabelCounts]) -> LabelCounts:
    return functools.reduce(operator.iadd, map(count, blocks(table)), LabelCounts())


def write(path: Path, rows: Iterable[Row]) -> int:
    rows, written = iter(rows), 0
    with pq.ParquetWriter(path, ANNOTATED_IMAGE) as writer:
        while block := list(islice(rows, BLOCK)):
            writer.write_table(to_table(block, ANNOTATED_IMAGE))
            written += len(block)
    return written


# ---------------------------------------------------------------- measuring


def measured(work: Callable[..., int], *arguments: Any) -> tuple[int, float, float, float]:
    """What `work` returns, its seconds, CPU seconds and peak memory in MB, in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (work, arguments))


def _measure(work: Callable[..., int], arguments: tuple[Any, ...]) -> tuple[int, float, float, float]:
    started, cpu = time.perf_counter(), time.process_time()
    result = work(*arguments)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    return result, time.perf_counter() - started, time.process_time() - cpu, peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--folder", help="where the files go for a while (default: the system's temporary folder)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        lines = measured(generate, folder, arguments.images)[0]
        size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) / 1e9
        print(f"{arguments.images:,} images, {lines:,} CSV lines, {size:.2f} GB")
        print(f"{'step':<34} {'seconds':>9} {'CPU s':>9} {'lines/CPU s':>12} {'images/CPU s':>13} {'peak MB':>9}")
        for label, work in (
            ("bare: pyarrow reads the CSV files", bare_pyarrow),
            ("bare: DuckDB, CSV to Parquet", bare_duckdb),
            ("read_source to Parquet", read_annotations),
            ("counts and cleaning to Parquet", clean_annotations),
        ):
            result, seconds, cpu, peak = measured(work, folder)
            if result != (lines if label.startswith("bare") else arguments.images):
                raise SystemExit(f"{label}: {result:,} rows are not all of them")
            rates = f"{lines / cpu:>12,.0f} {arguments.images / cpu:>13,.0f}"
            print(f"{label:<34} {seconds:>9.1f} {cpu:>9.1f} {rates} {peak:>9,.0f}", flush=True)


if __name__ == "__main__":
    main()
