"""Damaged files for all readers, of datasets and of what people give beside them: rows or one sentence, whatever.

`python tests/sources/fuzzing.py 10000` reads that many of them and prints what came of it; the test beside it reads a
few hundred. The damage changes structure (records and fields that go, come twice, move or nest), types, encodings, and
bytes (cut, turned, put in). Inputs are known by their number: the same one makes the same damage.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
import traceback
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmgic.cleaning.splits import read_splits
from mmgic.descriptions.reading import load_descriptions
from mmgic.descriptions.review import read_review
from mmgic.descriptions.table import REVIEW
from mmgic.errors import UserError
from mmgic.evaluation.benchmark import Item
from mmgic.evaluation.benchmarks import coco_captions, pope
from mmgic.presets import preset
from mmgic.schema import DROPS, REASONS, SCHEMAS
from mmgic.settings import Settings, SourceSettings, load_settings
from mmgic.sources.formats import FORMATS, read_source
from mmgic.stages.rows import to_table
from mmgic.toy.datasets.image_captions import write_image_captions, write_mmc4
from mmgic.toy.datasets.instructions import write_instructions
from mmgic.toy.datasets.open_images import write_open_images
from mmgic.toy.datasets.samples import World
from mmgic.toy.datasets.tables import write_first_sources

SOURCES = [s for s in preset("toy-all").sources if s.name not in ("objects365_v1", "v3det", "visual_genome_ambiguous")]
JSON, TEXT = (".json", ".jsonl"), (".csv", ".tsv", ".txt", ".yaml")
DATA = (*JSON, *TEXT, ".zip", ".parquet", ".tar")
# formats with a row for each record of one list, and where the list is: "" for the file itself
LISTED = {"coco": "images", "llava": "", "sharegpt": "", "alpaca": ""}

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**31, 2**63, -(2**63) - 1, 10**25, 0.5, -0.0, 1e300, float("nan"), float("inf")),
    *("", " ", "0", "7", "-1", "1e3", "nan", "true", "a dog", "\0", "\ud83d", "\U0001f600", "é\u2028", "x" * 3000),
    *(
        "../x",
        "/etc/passwd",
        "a/../../b",
        "http://x.test/1",
        "http://[",
        "http://x.test/a b",
        "file:///x",
        "~",
        "*",
        ".",
    ),
    *("<image>", "<image>\n<image>", "<video>", "<p>", "[1, 2, 3, 4]", "{}", '[{"from": 1}]'),
    *([], {}, [None], [[]], [1, 2, 3, 4], ["a", 1, None], {"x": 1}, {"bytes": "x", "path": None}, {"": {}}),
)


@dataclass
class Dataset:
    """A source in a folder of its own, with the content of its annotation files as they should be."""

    source: SourceSettings
    files: dict[Path, bytes]

    @property
    def name(self) -> str:
        return self.source.name

    def read(self) -> list[Any]:
        return list(read_source(self.source))

    def check(self, rows: list[Any], path: Path, damaged: bytes) -> None:
        check_rows(rows, self.source)
        least = 0 if self.source.captions == path.name else records(self.source, damaged)
        assert len(rows) >= least, f"{len(rows)} rows of {least} records"


@dataclass
class OtherFile:
    """A file that people give beside datasets."""

    name: str
    path: Path
    content: bytes
    reader: Callable[[str], Any]

    @property
    def files(self) -> dict[Path, bytes]:
        return {self.path: self.content}

    def read(self) -> list[Any]:
        return [self.reader(str(self.path))]

    def check(self, rows: list[Any], path: Path, damaged: bytes) -> None:
        assert len(rows) == 1


Target = Dataset | OtherFile


def make_targets(root: Path) -> list[Target]:
    """Writes a few records of every format, and the other files, below `root`."""
    return [*make_datasets(root), *make_other_files(root / "others")]


def make_other_files(root: Path) -> list[OtherFile]:
    labels = [
        {"kind": "object", "label": label, "description": f"a {label}", "unread": 1.5} for label in ("dog", "hat")
    ]
    photos = [
        {"cocoid": i, "split": s, "filename": f"{i}.jpg", "sentences": [{"raw": "a"}]}
        for i, s in ((1, "test"), (2, "val"))
    ]
    captions = {
        "images": [{"id": 1, "file_name": "1.jpg"}],
        "annotations": [{"image_id": 1, "id": 2, "caption": "a dog"}],
    }
    asked = [{"question_id": i, "image": "1.jpg", "text": "Is there a dog?", "label": "yes"} for i in (1, 2)]
    answers = [{"question_id": i, "answer": "yes"} for i in (1, 2)]
    items = [
        Item(i, "open_vqa", "Is there a dog?", images=("1.jpg",), options=("Yes", "No"), target=("yes",))
        for i in (1, 2)
    ]
    review = "\t".join(REVIEW.columns) + "\ns\tobject\tdog\t3\t\tdescribed\ta dog\taccept\t\n"

    def lines(records: list[Any]) -> str:
        return "".join(f"{json.dumps(record)}\n" for record in records)

    made: list[tuple[str, str, str, Callable[[str], Any]]] = [
        ("descriptions", "a.jsonl", lines(labels), load_descriptions),
        ("review", "a.tsv", review, lambda path: read_review(path, REVIEW)),
        ("karpathy", "a.json", json.dumps({"images": photos}), lambda path: read_splits(SourceSettings(karpathy=path))),
        (
            "flickr30k",
            "a.txt",
            "1\n2.jpg\n",
            lambda path: read_splits(SourceSettings(flickr30k=str(Path(path).parent))),
        ),
        ("pope", "a.jsonl", lines(asked), lambda path: pope.read([path])),
        ("coco_captions", "a.json", json.dumps(captions), lambda path: coco_captions.read([path])),
        ("karpathy captions", "a.json", json.dumps({"images": photos}), lambda path: coco_captions.read([path])),
        ("predictions", "a.jsonl", lines(answers), lambda path: pope.BENCHMARK.predictions.read(Path(path), items)),
        (
            "settings",
            "a.yaml",
            "output: a\nsources:\n  - {name: a, format: coco}\n",
            lambda path: load_settings(Settings(), path),
        ),
    ]
    found = []
    for name, file, text, reader in made:
        path = root / name / file
        path.parent.mkdir(parents=True)
        path.write_bytes(text.encode())
        found.append(OtherFile(name, path, text.encode(), reader))
    return found


def make_datasets(root: Path) -> list[Dataset]:
    """Writes a few records of every format below `root`."""
    world = World(0)
    write_first_sources(root, world, range(6))
    write_open_images(root, world, range(1_000_000, 1_000_006))
    write_image_captions(root, world, range(3_000_000, 3_000_012))
    write_mmc4(root, world, range(4_000_000, 4_000_008))
    write_instructions(root, world, range(5_000_000, 5_000_008))
    datasets = []
    for source in SOURCES:
        folder = root / Path(source.path).name
        paths = (path for path in sorted(folder.rglob("*")) if path.suffix in DATA and path.is_file())
        own = replace(source, path=str(folder), karpathy="", flickr30k="")
        datasets.append(Dataset(own, {path: path.read_bytes() for path in paths if path.name != "prompt.json"}))
    return datasets


def try_damaged(target: Target, rng: random.Random) -> str:
    """Reads the target with one file damaged: "rows" or "sentence". Raises AssertionError for anything else."""
    path = rng.choice(sorted(target.files))
    damaged = damage(path, target.files[path], rng)
    path.write_bytes(damaged)
    sentence, rows = "", []
    try:
        with redirect_stdout(StringIO()):
            rows = target.read()
    except UserError as error:
        sentence = str(error) or "nothing"
    finally:
        path.write_bytes(target.files[path])
    if sentence:
        assert "\n" not in sentence, f"more than a sentence: {sentence}"
        # a sentence about settings names the key
        named = target.name == "settings" or str(path.parent) in sentence or target.name in sentence
        assert named, f"no name in: {sentence}"
        return "sentence"
    target.check(rows, path, damaged)
    return "rows"


def check_rows(rows: list[Any], source: SourceSettings) -> None:
    """Each row can be stored, has an id of its own, and says why it is set aside or what it dropped."""
    assert len({row["row_id"] for row in rows}) == len(rows), "two rows have one id"
    for row in rows:
        assert row["keep"] or (row["reason"] in REASONS and row["detail"]), f"set aside without a reason: {row}"
        assert {drop["reason"] for drop in row["drops"]} <= set(DROPS)
    if rows:
        to_table(rows, SCHEMAS[FORMATS[source.format].corpus])


def records(source: SourceSettings, content: bytes) -> int:
    """The records that a damaged file of a listed format still has, 0 if that is not known."""
    name = LISTED.get(source.format)
    try:
        value = json.loads(content)
        value = value[name] if name else value
    except (ValueError, KeyError, TypeError, RecursionError):
        return 0
    return len(value) if name is not None and isinstance(value, list) else 0


def damage(path: Path, content: bytes, rng: random.Random) -> bytes:
    kinds: list[Callable[[bytes, random.Random], bytes]] = [damage_bytes]
    if path.suffix in JSON:
        kinds = [damage_json, damage_json, damage_json, damage_encoding, damage_bytes]
    elif path.suffix in TEXT:
        kinds = [damage_cells, damage_cells, damage_encoding, damage_bytes]
    elif path.suffix == ".zip":
        kinds = [damage_archived, damage_archived, damage_archived, damage_bytes]
    elif path.suffix == ".parquet":
        kinds = [damage_table, damage_table, damage_bytes]
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        content = rng.choice(kinds)(content, rng)
    return content


def damage_bytes(content: bytes, rng: random.Random) -> bytes:
    if not content:
        return content
    place = rng.randrange(len(content))
    kind = rng.randrange(5)
    if kind == 0:
        return content[:place]
    if kind == 1:
        return content[:place] + bytes([rng.randrange(256)]) + content[place + 1 :]
    if kind == 2:
        return content[:place] + rng.choice((b"\0", b"\xff", b"\r", b"\n", b'"', b"\xef\xbb\xbf")) + content[place:]
    if kind == 3:
        return content[:place] + content[place // 2 :]
    return content[:place] + content[place + rng.randrange(64) :]


def damage_encoding(content: bytes, rng: random.Random) -> bytes:
    text = content.decode(errors="replace")
    encoding = rng.choice(("utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252"))
    return text.replace("\n", rng.choice(("\n", "\r\n", "\r"))).encode(encoding, "replace")


def damage_json(content: bytes, rng: random.Random) -> bytes:
    """Changes a node of the value, or of one of its lines."""
    lines = content.decode(errors="surrogateescape").splitlines(keepends=True)
    if not lines:
        return rng.choice((b"[]", b"{}", b"null", b"0"))
    number = rng.randrange(len(lines))
    for chosen in (range(len(lines)), range(number, number + 1)):
        try:
            value = json.loads("".join(lines[i] for i in chosen))
        except (ValueError, RecursionError):
            continue
        text = json.dumps(changed(value, rng), ensure_ascii=rng.random() < 0.8)
        lines[chosen.start : chosen.stop] = [text + "\n"]
        return "".join(lines).encode(errors="replace")
    return damage_bytes(content, rng)


def changed(value: Any, rng: random.Random) -> Any:
    """`value` with one node replaced, removed, repeated, renamed or nested."""
    if isinstance(value, (dict, list)) and value and rng.random() < 0.85:
        key = rng.choice(list(value) if isinstance(value, dict) else list(range(len(value))))
        kind = rng.randrange(8)
        if isinstance(value, list) and kind < 3:
            copy = [value[: key + 1] + value[key:], value[:key] + value[key + 1 :], [*value, rng.choice(VALUES)]]
            return copy[kind]
        if isinstance(value, dict) and kind < 2:
            other = rng.choice((*list(value), "id", "", key.upper()))
            rest = {name: inner for name, inner in value.items() if name != key}
            return {**rest, other: value[key]} if kind else rest
        inner = changed(value[key], rng)
        return {**value, key: inner} if isinstance(value, dict) else [*value[:key], inner, *value[key + 1 :]]
    kind = rng.randrange(6)
    if kind == 0:
        return [value]
    if kind == 1:
        return {"value": value}
    if kind == 2 and not isinstance(value, (dict, list)):
        return str(value)
    return rng.choice(VALUES)


def damage_cells(content: bytes, rng: random.Random) -> bytes:
    """Changes a line or a cell of a table of text."""
    lines = content.decode(errors="replace").split("\n")
    number = rng.randrange(len(lines))
    kind = rng.randrange(5)
    if kind == 0:
        lines.insert(number, rng.choice(lines))
    elif kind == 1:
        del lines[number]
    elif kind == 2:
        lines = [line + rng.choice((",", "\t", "")) for line in lines]
    elif kind == 3:
        lines[number] = rng.choice((",", '"', "\t", ",,,,,,,,,,,,,,,,", '"a', "\0", "#"))
    else:
        mark = "\t" if "\t" in lines[number] else ","
        cells = lines[number].split(mark)
        cells[rng.randrange(len(cells))] = str(rng.choice(VALUES))
        lines[number] = mark.join(cells)
    return "\n".join(lines).encode(errors="replace")


def damage_archived(content: bytes, rng: random.Random) -> bytes:
    """Changes a file of JSON lines in an archive."""
    target = BytesIO()
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError, OSError):
        return damage_bytes(content, rng)
    name = rng.choice(sorted(files))
    files[name] = rng.choice((damage_json, damage_json, damage_encoding, damage_bytes))(files[name], rng)
    with zipfile.ZipFile(target, "w") as archive:
        for file, inside in files.items():
            archive.writestr(file, inside)
    return target.getvalue()


def damage_table(content: bytes, rng: random.Random) -> bytes:
    """Changes a column of a Parquet file: its values, its type or its name."""
    target = BytesIO()
    try:
        table = pq.read_table(BytesIO(content))
        position = rng.randrange(table.num_columns or 1)
        pq.write_table(_other_column(table, position, rng), target)
    except (pa.ArrowException, OSError, OverflowError, UnicodeError, IndexError):  # it is damaged, or would be no table
        return damage_bytes(content, rng)
    return target.getvalue()


def _other_column(table: pa.Table, position: int, rng: random.Random) -> pa.Table:
    name, column = table.column_names[position], table.column(position).to_pylist()
    kind = rng.randrange(5)
    if kind == 0:
        return table.drop_columns([name])
    if kind == 1:
        names = [*table.column_names]
        names[position] = rng.choice((name.upper(), f" {name}", "", rng.choice(names)))
        return table.rename_columns(names)
    if kind == 2:
        return table.set_column(position, name, pa.array([rng.choice(VALUES)] * len(column)))
    if kind == 3:
        return table.set_column(position, name, pa.array([str(value).encode() for value in column]))
    return table.set_column(position, name, pa.nulls(len(column)))


def failures(targets: list[Target], numbers: Iterator[int], outcomes: dict[str, Counter[str]]) -> Iterator[str]:
    """Tries input after input, counts what comes of them by format, and yields what should not have come."""
    for number in numbers:
        target = targets[number % len(targets)]
        counts = outcomes.setdefault(target.name, Counter())
        try:
            counts[try_damaged(target, random.Random(number))] += 1
        except Exception:
            counts["failure"] += 1
            yield f"input {number}, {target.name}:\n{traceback.format_exc(limit=-6)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", type=int, nargs="?", default=10_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    arguments = parser.parse_args()
    outcomes: dict[str, Counter[str]] = {}
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        numbers = iter(range(arguments.first, arguments.first + arguments.inputs))
        for failure in failures(make_targets(Path(folder)), numbers, outcomes):
            print(failure, flush=True)
    failed = sum(counts["failure"] for counts in outcomes.values())
    print(f"{'source':<24}{'rows':>8}{'sentence':>10}{'failure':>9}")
    for name, counts in sorted(outcomes.items()):
        print(f"{name:<24}{counts['rows']:>8}{counts['sentence']:>10}{counts['failure']:>9}")
    print(f"{arguments.inputs:,} inputs in {time.monotonic() - started:.0f} s, {failed} failures")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
