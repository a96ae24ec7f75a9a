"""The digest follows rows and nothing else."""

import random
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgic.errors import InputError
from mmgic.stages import digest as digest_module
from mmgic.stages import tables
from mmgic.stages.digest import digest
from mmgic.stages.tables import Manifest

SCHEMA = pa.schema(
    [
        ("row_id", pa.int64()),
        ("repeat", pa.int32()),
        ("text", pa.string()),
        ("codes", pa.list_(pa.int32())),
        ("x", pa.float64()),
    ]
)
MANIFEST = Manifest("test", "", 0, 0, 0, {}, {}, {}, 0.0)
rows_strategy = st.lists(
    st.fixed_dictionaries(
        {
            "row_id": st.integers(-(2**63), 2**63 - 1),
            "repeat": st.integers(0, 2),
            "text": st.text(st.characters(exclude_categories=["Cs"])),
            "codes": st.lists(st.integers(0, 9), max_size=3),
            "x": st.floats(allow_nan=False),
        }
    ),
    min_size=1,
    max_size=12,
    unique_by=lambda row: (row["row_id"], row["repeat"]),
)


def write(folder: Path, files: list[list[dict]], schema: pa.Schema = SCHEMA) -> str:
    for i, rows in enumerate(files):
        tables.write_part(f"{folder}/part-{i}.parquet", pa.Table.from_pylist(rows, schema=schema))
    tables.write_manifest(str(folder), MANIFEST)
    return str(folder)


@settings(max_examples=25, deadline=None)
@given(rows=rows_strategy, seed=st.integers(0, 99), cut=st.integers(0, 12))
def test_ignores_files_order_and_columns(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict], seed: int, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("digest")
    shuffled = random.Random(seed).sample(rows, len(rows))
    reversed_columns = pa.schema(list(SCHEMA)[::-1])
    one_file = write(folder / "a", [rows])
    assert digest(write(folder / "b", [shuffled[:cut], shuffled[cut:]], reversed_columns)) == digest(one_file)


@settings(max_examples=25, deadline=None)
@given(rows=rows_strategy, column=st.sampled_from(SCHEMA.names), pick=st.integers(0, 99))
def test_sees_every_value(tmp_path_factory: pytest.TempPathFactory, rows: list[dict], column: str, pick: int) -> None:
    folder = tmp_path_factory.mktemp("digest")
    changed = [dict(row) for row in rows]
    row = changed[pick % len(rows)]
    row[column] = {"row_id": row["row_id"] ^ 1, "repeat": row["repeat"] + 3}.get(column, row[column])
    row["text"] += "x" if column == "text" else ""
    row["codes"] = row["codes"] + [1] if column == "codes" else row["codes"]
    row["x"] = 0.5 if column == "x" and row["x"] != 0.5 else row["x"] if column != "x" else 0.25
    assert digest(write(folder / "a", [rows])) != digest(write(folder / "b", [changed]))


def test_passes_bound_memory_and_see_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest_module, "ROWS_PER_PASS", 10)
    rows = [{"row_id": i * 7919 - 300, "repeat": 0, "text": str(i), "codes": [], "x": 0.0} for i in range(95)]
    one, other = write(tmp_path / "a", [rows]), write(tmp_path / "b", [rows[50:], rows[:50]])
    assert digest(one) == digest(other)
    rows[17]["text"] = "another"
    assert digest(one) != digest(write(tmp_path / "c", [rows]))


def test_takes_the_tables_below_a_folder(tmp_path: Path) -> None:
    row = {"row_id": 1, "text": "", "codes": [], "x": 0.0}
    write(tmp_path / "documents" / "repeat_0", [[{**row, "repeat": 0}]])
    write(tmp_path / "documents" / "repeat_1", [[{**row, "repeat": 1}]])
    together = write(tmp_path / "together", [[{**row, "repeat": 1}, {**row, "repeat": 0}]])
    assert digest(str(tmp_path / "documents")) == digest(together)


def test_refuses_a_folder_without_a_finished_table(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no finished table"):
        digest(str(tmp_path))
