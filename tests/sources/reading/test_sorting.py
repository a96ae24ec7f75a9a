from __future__ import annotations

import csv
import json
import math
import random
import re
from itertools import groupby

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmgic.errors import InputError
from mmgic.sources.detection.narratives import best_narrative, narrative_groups
from mmgic.sources.reading.sorting import BadLine, Column, Sorter, merge_groups

COLUMNS = (
    Column(("key",)),
    Column(("text",)),
    Column(("number", "Number"), number=True),
    Column(("flag",), default="0"),
)

field = st.text(st.characters(exclude_categories=("Cs", "Zs"), exclude_characters="\0") | st.just(" "), max_size=6)
number = st.one_of(st.floats(allow_nan=False, allow_infinity=False).map(repr), st.integers().map(str), st.just("none"))


def write_csv(path, header, rows, quoting=csv.QUOTE_MINIMAL):
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n", quoting=quoting).writerows([header, *rows])
    return str(path)


def as_number(text):
    try:
        return float(text)
    except ValueError:
        return None


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(field, field, number), max_size=12))
def test_sorts_as_python_does(tmp_path, rows):
    """Any text, quotes, commas, line ends and all, against Python's own csv and sort."""
    path = write_csv(tmp_path / "a.csv", ["Number", "text", "key"], [(n, t, k) for k, t, n in rows], csv.QUOTE_ALL)
    with open(path, encoding="utf-8", newline="") as file:
        lines = [[re.sub("\r\n?", "\n", value) for value in line] for line in list(csv.reader(file))[1:]]
    found = [(k.strip(" "), 0, t.strip(" "), as_number(n), "0") for n, t, k in lines]
    expected = sorted(found, key=lambda row: [(value is None, value) for value in row])
    with Sorter() as sorter:
        groups = list(sorter.csv_groups([path], COLUMNS))
        assert sorter.bad_lines == []
    assert groups == [(key, list(own)) for key, own in groupby(expected, lambda row: row[0])]


def test_many_rows_in_several_batches(tmp_path):
    rng = random.Random(0)
    rows = [(f"{rng.getrandbits(16):04x}", f"{i}", rng.random()) for i in range(70_000)]
    paths = [write_csv(tmp_path / f"{i}.csv", ["key", "text", "number"], rows[i::2]) for i in range(2)]
    with Sorter() as sorter:
        groups = list(sorter.csv_groups(paths, COLUMNS))
    assert [key for key, _ in groups] == sorted({key for key, *_ in rows})
    found = [(key, text, value) for _, own in groups for key, _, text, value, _ in own]
    assert sorted(found) == sorted(rows)
    assert {file for _, own in groups for _, file, *_ in own} == {0, 1}


def test_bad_lines_are_told(tmp_path):
    (tmp_path / "a.csv").write_text('key,text,number\nb,x,1\nshort\na,y,2\nlong,1,2,3\nc,"open,5\n')
    path = str(tmp_path / "a.csv")
    with Sorter() as sorter:
        assert [key for key, _ in sorter.csv_groups([path], COLUMNS)] == ["a", "b"]
        assert [(bad.path, bad.line) for bad in sorter.bad_lines] == [(path, 3), (path, 5), (path, 6)]
        assert all(bad.problem for bad in sorter.bad_lines)


def test_files_of_another_form_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("id,text\n1,x\n")
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00key\n")
    (tmp_path / "c.csv").write_text("")
    for name, message in (
        ("a", "has no column key"),
        ("b", "damaged UTF-16 text"),
        ("c", "has no column"),
        ("d", "cannot read"),
    ):
        with Sorter() as sorter, pytest.raises(InputError, match=message):
            list(sorter.csv_groups([str(tmp_path / f"{name}.csv")], COLUMNS))


def test_stored_rows():
    rows = [("b", 1), ("a", 2), ("a", 1), ("é", 0), ("z", 0)]
    with Sorter() as sorter:
        table = sorter.store({"key": pa.string(), "number": pa.int64()}, rows)
        empty = sorter.store({"key": pa.string()}, [])
        assert list(sorter.groups(f"SELECT * FROM {table}")) == [
            ("a", [("a", 1), ("a", 2)]),
            ("b", [("b", 1)]),
            ("z", [("z", 0)]),
            ("é", [("é", 0)]),
        ]
        assert sorter.is_empty(empty)
        assert not sorter.is_empty(table)


@given(st.lists(st.dictionaries(st.text(max_size=2), st.lists(st.tuples(st.integers()), min_size=1)), max_size=4))
def test_merging_streams(tables):
    merged = dict(merge_groups(*(iter(sorted(table.items())) for table in tables)))
    assert list(merged) == sorted({key for table in tables for key in table})
    for key, found in merged.items():
        assert found == [table.get(key, []) for table in tables]


def test_narratives(tmp_path):
    records = [
        {"image_id": 137576, "annotator_id": 93, "caption": "Cows  stand."},
        {"image_id": "137576", "annotator_id": 4, "caption": "Cows eats."},
        {"image_id": "b", "annotator_id": None, "caption": "A bird."},
        {"image_id": "b", "annotator_id": 1, "caption": 5},
        {"caption": "Nobody knows where."},
        [1],
    ]
    path = tmp_path / "n.jsonl"
    path.write_text("\n".join([*map(json.dumps, records), '{"image_id": "c", "capt', ""]))
    bad: list[BadLine] = []
    with Sorter() as sorter:
        found = {key: best_narrative(rows) for key, rows in narrative_groups(sorter, [str(path)], bad)}
    assert found == {"137576": "Cows stand.", "b": "A bird."}
    assert [line.line for line in bad] == [5, 6, 7]
    with Sorter() as sorter, pytest.raises(InputError, match="cannot read"):
        narrative_groups(sorter, [str(tmp_path / "none.jsonl")], bad)


def test_real_narrative(shared):
    bad: list[BadLine] = []
    path = shared / "data/format_samples/localized_narratives/one_record.jsonl"
    with Sorter() as sorter:
        [(image_id, rows)] = narrative_groups(sorter, [str(path)], bad)
    assert (image_id, bad) == ("137576", [])
    assert best_narrative(rows).startswith("In this image there are group of cows")
    assert math.isfinite(rows[0][1])
