import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmgic.settings import SourceSettings
from mmgic.sources.formats import read_source
from mmgic.sources.rows import image_part, text_part

PNG = b"\x89PNG and so on "


@pytest.fixture
def read(tmp_path):
    def read_source_of(kind, **settings):
        return list(read_source(SourceSettings(name="s", format=kind, path=str(tmp_path), **settings)))

    return read_source_of


def held(name):
    return {"bytes": PNG + name.encode(), "path": None}


def test_instructpix2pix_folders(read, tmp_path):
    (tmp_path / "0001").mkdir()
    (tmp_path / "0001/prompt.json").write_text(json.dumps({"edit": "make it snow"}))
    seeds = [["0001", ["12", "13"]], ["0002", ["5"]], ["../up", ["5"]], "x"]
    (tmp_path / "seeds.json").write_text(json.dumps(seeds))
    rows = read("instructpix2pix")
    assert [(row["image_id"], row["reason"]) for row in rows] == [
        ("0001", ""),
        ("0002", "bad_record"),
        ("seeds.json#3", "bad_record"),
        ("seeds.json#4", "bad_record"),
    ]
    assert [image["image_path"] for image in rows[0]["images"]] == [
        str(tmp_path / "0001/12_0.jpg"),
        str(tmp_path / "0001/12_1.jpg"),
    ]
    assert rows[0]["rounds"] == [
        {"instruction": [image_part(0), text_part("make it snow")], "response": [image_part(1)]}
    ]


def test_instructpix2pix_parquet_images_are_unpacked_once(read, tmp_path):
    columns = [{"original_image": held("a"), "edit_prompt": "snow", "edited_image": held("b")}]
    pq.write_table(pa.Table.from_pylist(columns), tmp_path / "train.parquet")
    [row] = read("instructpix2pix")
    paths = [tmp_path / "images/unpacked" / f"train_parquet_1_{side}.png" for side in ("before", "after")]
    assert [image["image_path"] for image in row["images"]] == [str(path) for path in paths]
    assert [path.read_bytes() for path in paths] == [PNG + b"a", PNG + b"b"]
    before = [path.stat().st_mtime_ns for path in paths]
    assert read("instructpix2pix") == [row]
    assert [path.stat().st_mtime_ns for path in paths] == before


def turn(session, number, edit="x", after="t"):
    images = {"source_img": held(f"{session}{number}s"), "target_img": held(f"{session}{number}{after}")}
    return {"img_id": session, "turn_index": number, "instruction": edit, **images}


def test_magicbrush_sessions_go_on_with_the_image_before(read, tmp_path):
    records = [
        turn("1", 1, "a"),
        turn("1", 2, "b"),
        turn("2", 1, "c"),
        turn("2", 3, "d"),
        turn("3", 1, ""),
        turn("4", 1),
    ]
    records[-1]["target_img"] = None
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "train-0.parquet")
    rows = read("magicbrush")
    assert [(row["image_id"], row["reason"]) for row in rows] == [
        ("1/1", ""),
        ("2/1", ""),
        ("2/3", ""),
        ("3/1", "bad_record"),
        ("4/1", "bad_record"),
    ]
    assert rows[0]["rounds"] == [
        {"instruction": [image_part(0), text_part("a")], "response": [image_part(1)]},
        {"instruction": [text_part("b")], "response": [image_part(2)]},
    ]
    content = [Path(image["image_path"]).read_bytes() for image in rows[0]["images"]]
    assert content == [PNG + b"11s", PNG + b"11t", PNG + b"12t"]


def test_magicbrush_test_files_are_held_out(read, tmp_path):
    for split in ("test", "dev"):
        pq.write_table(pa.Table.from_pylist([turn(split, 1)]), tmp_path / f"{split}-0.parquet")
    rows = read("magicbrush", annotations="*.parquet")
    assert sorted(row["reason"] for row in rows) == ["heldout_split", "validation_split"]
