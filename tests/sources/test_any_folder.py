"""A folder may be called anything: only the name of a file is a pattern."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pytest

from mmgic.cleaning.splits import read_splits
from mmgic.files import file_digests, find_files
from mmgic.settings import SourceSettings
from mmgic.sources.formats import read_source
from mmgic.sources.reading.files import annotation_files
from mmgic.sources.reading.sorting import Column, Sorter
from mmgic.stages import tables

CONVERSATION = [{"from": "human", "value": "Hi?"}, {"from": "gpt", "value": "Hi."}]


@pytest.fixture(params=["fe[v1]", "what?", "a*b", "[", "[!a]"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    for name in ("fe1", "fev", "whatx", "aab", "b"):  # what the patterns would stand for
        (tmp_path / name).mkdir()
        (tmp_path / name / "other.json").write_text("[]")
    path = tmp_path / request.param
    path.mkdir()
    return path


def test_annotations_are_found_and_changes_noticed(folder: Path) -> None:
    source = SourceSettings(name="s", format="sharegpt", path=str(folder))
    digests = []
    for said in ("a", "b"):
        (folder / "conversations.json").write_text(json.dumps([{"id": said, "conversations": CONVERSATION}]))
        assert [row["keep"] for row in read_source(source)] == [True]
        digests.append(file_digests(annotation_files(source)))
    assert [len(found) for found in digests] == [1, 1]
    assert digests[0] != digests[1]


def test_shards_are_found(folder: Path) -> None:
    (folder / "images").mkdir()
    files = {"0.jpg": b"", "0.txt": b"a dog", "0.json": json.dumps({"url": "http://x.test/0"}).encode()}
    for path in (folder / "0.tar", folder / "images" / "0.tar"):
        with tarfile.open(path, "w") as tar:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    (folder / "cc12m.tsv").write_text("http://x.test/0\ta dog\n")
    for kind, shard in (("webdataset", folder / "0.tar"), ("cc12m", folder / "images" / "0.tar")):
        [row] = read_source(SourceSettings(name="s", format=kind, path=str(folder)))
        assert (row["caption_origin"], row["image_path"].partition("#")[0]) == ("a dog", str(shard))


def test_lists_and_tables_are_found(folder: Path) -> None:
    (folder / "train.txt").write_text("123\n")
    assert read_splits(SourceSettings(flickr30k=str(folder))).flickr30k == {"123"}
    rows = pa.table({"a": [1]})
    tables.write_part(f"{folder}/table/part.parquet", rows)
    tables.write_manifest(f"{folder}/table", tables.Manifest("table", "", 1, 1, 1, {}, {}, {}, 0.0))
    assert tables.open_table(f"{folder}/table").to_table() == rows
    assert [table.folder for table in tables.finished_tables(str(folder))] == [f"{folder}/table"]


def test_csv_files_are_sorted_from_that_folder_alone(folder: Path) -> None:
    for sibling in folder.parent.iterdir():
        (sibling / "a[1].csv").write_text("id,name\n7,sibling's\n")
        (sibling / "a1.csv").write_text("id,name\n8,neighbour's\n")
    (folder / "a[1].csv").write_text("id,name\n1,own\n")
    with Sorter() as sorter:
        groups = sorter.csv_groups([str(folder / "a[1].csv")], [Column(("id",)), Column(("name",))])
        assert list(groups) == [("1", [("1", 0, "own")])]


def test_file_names_may_hold_marks_too(tmp_path: Path) -> None:
    for name in ("a[1].json", "a1.json", "b.json"):
        (tmp_path / name).write_text(name)
    names = [[Path(path).name for path in find_files(f"{tmp_path}/{n}")] for n in ("a[1].json", "a?.json", "c")]
    assert names == [["a[1].json"], ["a1.json"], []]
