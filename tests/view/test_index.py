"""The index of `mmgic view` against a plain reading of the same table."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmgic import schema
from mmgic.errors import InputError
from mmgic.stages import tables
from mmgic.stages.rows import blank_row, to_table
from mmgic.stages.tables import Manifest
from mmgic.view.index import KEPT, Filter, TableIndex


def _rows() -> list[dict[str, Any]]:
    rows = []
    for number in range(60):
        things = [{"object_id": "1", "label": ("Dog", "cat", "red car")[number % 3], "synset": ""}]
        things = [{**thing, "x": 0.0, "y": 0.0, "w": 5.0, "h": 5.0} for thing in things]
        verdict = schema.KEPT if number % 4 else schema.reject("short_side", "10 x 20 pixels")
        rows.append(
            {
                "row_id": number * 7 - 100,
                "source": "coco" if number % 2 else "visual_genome",
                "image_id": f"image{number}",
                "caption": f"Number {number} stands on Grass",
                "objects": things,
                "attributes": [{"object_id": "1", "label": "red"}] if number % 5 == 0 else [],
                **verdict,
            }
        )
    return rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A finished table of two files with several row groups."""
    path = tmp_path_factory.mktemp("view") / "tokens"
    path.mkdir()
    table = to_table([blank_row(schema.TOKENIZED_IMAGE) | row for row in _rows()], schema.TOKENIZED_IMAGE)
    pq.write_table(table.slice(0, 33), path / "part-0.parquet", row_group_size=10)
    pq.write_table(table.slice(33), path / "part-1.parquet", row_group_size=10)
    counts = tables.count(tables.open_table(str(path)))
    tables.write_manifest(str(path), Manifest("mmgic/tokens", "", 60, **counts, seconds=0.0))
    return str(path)


def test_a_rows_place_is_where_it_is_paged(folder: str) -> None:
    index = TableIndex(folder)
    for chosen in (Filter(), Filter(source="coco"), Filter(reason="short_side", label="dog")):
        for place in range(index.count(chosen)):
            [row] = index.page(chosen, place, 1)
            assert index.place(chosen, row["row_id"]) == place
    assert index.place(Filter(), 12345) is None
    assert index.place(Filter(source="coco"), _rows()[0]["row_id"]) is None


@pytest.mark.parametrize(
    ("chosen", "fits"),
    [
        (Filter(), lambda row: True),
        (Filter(source="coco"), lambda row: row["source"] == "coco"),
        (Filter(reason=KEPT), lambda row: row["keep"]),
        (Filter(reason="short_side"), lambda row: row["reason"] == "short_side"),
        (Filter(label="dog"), lambda row: row["objects"][0]["label"] == "Dog"),
        (Filter(label=" RED "), lambda row: bool(row["attributes"])),  # whole labels: not "red car"
        (Filter(text="number 1"), lambda row: "Number 1" in row["caption"]),
        (Filter(text="image59"), lambda row: row["image_id"] == "image59"),
        (
            Filter(source="coco", label="cat", text="grass"),
            lambda row: row["row_id"] % 2 and row["objects"][0]["label"] == "cat",
        ),
    ],
)
def test_a_filter_finds_what_a_plain_reading_finds(folder: str, chosen: Filter, fits: Any) -> None:
    stored = pa.concat_tables(pq.read_table(file) for file in sorted(Path(folder).glob("*.parquet"))).to_pylist()
    expected = [row for row in stored if fits(row)]
    index = TableIndex(folder)
    assert expected
    assert index.count(chosen) == len(expected)
    pages = [index.page(chosen, number, 7) for number in range(-(-len(expected) // 7))]
    assert [row for page in pages for row in page] == expected
    assert index.page(chosen, len(pages), 7) == []


def test_rows_are_found_by_id_and_options_are_counted(folder: str) -> None:
    index = TableIndex(folder)
    found = index.find([-100, 1, 313])
    assert {row_id: row["image_id"] for row_id, row in found.items()} == {-100: "image0", 313: "image59"}
    assert index.find([313], ("row_id", "caption")) == {313: {"row_id": 313, "caption": "Number 59 stands on Grass"}}
    assert index.options("source") == {"coco": 30, "visual_genome": 30}
    assert index.options("reason") == {KEPT: 45, "short_side": 15}
    assert index.options("form") == {}


def test_an_unfinished_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no finished table"):
        TableIndex(str(tmp_path))
