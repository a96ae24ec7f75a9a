"""The formats of image-caption pairs on hand-written files, good and bad."""

from __future__ import annotations

import json
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgic.errors import InputError
from mmgic.schema import CAPTIONED_IMAGE
from mmgic.settings import SourceSettings
from mmgic.sources.captions.pairs import http_url, url_id
from mmgic.sources.formats import read_source

A, B, C = (f"http://x.test/{name}.jpg" for name in "abc")


@pytest.fixture
def read(tmp_path):
    """Reads a source of tmp_path; its rows have the table's columns and ids of their own."""

    def rows(format_name, **fields):
        found = list(read_source(SourceSettings(name="s", format=format_name, path=str(tmp_path), **fields)))
        assert all(list(row) == CAPTIONED_IMAGE.names for row in found)
        assert len({row["row_id"] for row in found}) == len(found)
        return found

    return rows


def told(rows, *columns):
    return [tuple(row[column] for column in columns) for row in rows]


def test_blip_joins_web_and_synthetic_captions_by_url(read, write):
    web = [{"url": A, "caption": " a\ncat "}, {"url": B, "caption": "b web"}, {"url": A, "caption": "again"}]
    synthetic = [{"caption": "c syn", "url": C}, {"caption": "a syn", "url": A}, {"caption": "second", "url": A}]
    write("web.json", [*web, {"caption": "nameless"}, {"url": "ftp://x/y", "caption": "z"}, 7])
    write("synthetic.json", [*synthetic, {"url": C, "caption": None}, "?"])
    rows = read("blip_captions", annotations="web.json", captions="synthetic.json")
    assert told(rows, "url", "caption_origin", "caption_coco", "reason") == [
        (A, "a cat", "a syn", ""),
        (B, "b web", "", "no_caption"),
        (A, "again", "a syn", "duplicate_id"),
        ("", "", "", "bad_record"),
        ("", "", "", "bad_record"),
        ("", "", "", "bad_record"),
        (C, "", "", "no_caption"),
    ]
    assert told(rows[:2], "image_id") == [(url_id(A),), (url_id(B),)]
    assert [rows[1]["detail"], rows[6]["detail"]] == [
        "the image has no synthetic caption",
        "the image has no caption of the web",
    ]
    assert "record 5: 'ftp://x/y' is no http(s) url" in rows[4]["detail"]


def test_blip_files_of_local_images(read, write, tmp_path):
    write("web.json", [{"image": "sub/a.jpg", "caption": "web"}, {"image": "../b.jpg", "caption": "out"}])
    write("synthetic.json", [{"image": "sub/a.jpg", "caption": "syn"}])
    rows = read("blip_captions", annotations="web.json", captions="synthetic.json")
    assert told(rows, "image_id", "image_path", "reason") == [
        ("sub/a.jpg", str(tmp_path / "images/sub/a.jpg"), ""),
        ("record 2", "", "bad_record"),
    ]


def test_blip_needs_both_files_and_records_in_them(read, write):
    write("web.json", [{"url": A, "caption": "a"}])
    write("other.json", {"annotations": []})
    with pytest.raises(InputError, match="names no captions file"):
        read("blip_captions", annotations="web.json")
    with pytest.raises(InputError, match=r"other.json is not BLIP's"):
        read("blip_captions", annotations="web.json", captions="other.json")
    with pytest.raises(InputError, match=r"other.json is not BLIP's"):
        read("blip_captions", annotations="other.json", captions="web.json")


@given(
    web=st.lists(st.tuples(st.integers(0, 9), st.text("ab", max_size=2))),
    synthetic=st.lists(st.tuples(st.integers(0, 9), st.text("ab", max_size=2))),
)
def test_blip_is_a_join_that_loses_nothing(tmp_path_factory, web, synthetic):
    folder = tmp_path_factory.mktemp("blip")
    url = "https://x.test/{}".format
    for name, records in (("web.json", web), ("synthetic.json", synthetic)):
        records = [{"url": url(key), "caption": caption} for key, caption in records]
        (folder / name).write_text(json.dumps([*records, {"url": url("both"), "caption": "c"}]))
    source = SourceSettings(
        name="s", format="blip_captions", path=str(folder), annotations="web.json", captions="synthetic.json"
    )
    rows = list(read_source(source))
    first_web = dict(reversed(web))
    captioned = {key: caption for key, caption in reversed(synthetic) if caption}
    kept = {row["url"]: (row["caption_origin"], row["caption_coco"]) for row in rows if row["keep"]}
    assert kept == {
        **{url(key): (text, captioned[key]) for key, text in first_web.items() if text and key in captioned},
        url("both"): ("c", "c"),
    }
    assert len(rows) == len(web) + 1 + len(set(captioned) - set(first_web))
    reasons = Counter(row["reason"] for row in rows)
    assert reasons["duplicate_id"] == len(web) - len(first_web)
    assert set(reasons) <= {"", "duplicate_id", "no_caption"}


CAPSFUSION = [
    {"image_url": A, "laion_2b": "origin", "laion_coco": "coco", "capsfusion": "both of  them"},
    {"image_url": B, "laion_2b": None, "laion_coco": None, "capsfusion": ""},
    {"image_url": None, "laion_2b": "x", "laion_coco": "y", "capsfusion": "z"},
    {"image_url": A, "laion_2b": "x", "laion_coco": "y", "capsfusion": "z"},
]


def test_capsfusion_parquet(read, tmp_path):
    for number, rows in ((1, CAPSFUSION[:3]), (2, CAPSFUSION[3:])):
        table = pa.Table.from_pylist([{**row, "other": 1} for row in rows])
        pq.write_table(table.select(table.column_names[::-1]), tmp_path / f"capsfusion_{number}.parquet")
    rows = read("capsfusion")
    assert told(rows, "caption_origin", "caption_coco", "caption_capsfusion", "reason") == [
        ("origin", "coco", "both of them", ""),
        ("", "", "", "no_caption"),
        ("", "", "", "bad_record"),
        ("x", "y", "z", "duplicate_id"),
    ]
    assert rows[2]["image_id"] == "capsfusion_1.parquet#3"


@pytest.mark.parametrize("name", ["capsfuion_official", "capsfusion_official", "capsfusion"])
def test_capsfusion_json_with_its_misspelled_key(read, write, name):
    records = [
        {("image_url" if key == "image_url" else key): value for key, value in row.items()} for row in CAPSFUSION
    ]
    write("example_data.json", [{name if key == "capsfusion" else key: v for key, v in r.items()} for r in records])
    rows = read("capsfusion", annotations="example_data.json")
    assert [row["caption_capsfusion"] for row in rows] == ["both of them", "", "", "z"]


def test_columns_are_found_by_name_and_missing_ones_named(read, tmp_path):
    pq.write_table(pa.table({"pwatermark": [0.1], "URL": [A], "Caption": ["a dog"]}), tmp_path / "laion.parquet")
    [row] = read("laion_coco_aesthetic")
    assert (row["url"], row["caption_coco"], row["caption_origin"], row["keep"]) == (A, "a dog", "", True)
    with pytest.raises(InputError, match=r"has no column 'laion_2b' \(it has pwatermark, URL, Caption\)"):
        read("capsfusion")
    (tmp_path / "laion.parquet").write_bytes(b"PAR1 not at all PAR1")
    with pytest.raises(InputError, match="damaged or not a Parquet file"):
        read("laion_coco_aesthetic")
    (tmp_path / "laion.parquet").unlink()
    with pytest.raises(
        InputError, match=r"holds no laion-coco\*.parquet or \*.parquet; put the dataset's annotations there"
    ):
        read("laion_coco_aesthetic")


def test_journeydb_takes_the_caption_of_task_2(read, tmp_path):
    lines = [
        {"img_path": "./000/a.jpg", "prompt": "p", "Task2": {"Caption": "A cat sits on the red mat."}},
        {"img_path": "./000/b.jpg", "prompt": "p", "Task2": {"Caption": None}},
        {"img_path": "./000/c.jpg", "prompt": "p", "Task2": {"Caption": "A cat."}},
        {"img_path": "./001/d.jpg", "prompt": "p"},
        {"img_path": "./001/e.jpg", "Task2": None},
        {"img_path": "../../etc/passwd", "Task2": {"Caption": "A cat sits on the red mat."}},
        {"prompt": "p"},
        {"img_path": "./000/a.jpg", "Task2": {"Caption": "A cat sits on the red mat."}},
    ]
    text = "".join(f"{json.dumps(line)}\n" for line in lines) + "\n[1]\n{broken\n"
    (tmp_path / "train_anno_realease_repath.jsonl").write_text(text)
    (tmp_path / "imgs/000").mkdir(parents=True)
    rows = read("journeydb", images="imgs")
    assert Counter(row["reason"] for row in rows) == {"": 1, "no_caption": 4, "bad_record": 4, "duplicate_id": 1}
    assert (rows[0]["image_id"], rows[0]["caption_capsfusion"]) == ("a", "A cat sits on the red mat.")
    assert rows[0]["image_path"] == str(tmp_path / "imgs/000/a.jpg")
    assert rows[0]["caption_coco"] == rows[0]["caption_origin"] == rows[0]["url"] == ""
    assert rows[2]["detail"] == "Task2 has a caption of 2 words"


def test_cc3m_and_cc12m_have_their_columns_the_other_way_round(read, tmp_path):
    (tmp_path / "GCC-training.tsv").write_bytes(f"a \t cat\t{A}\n\nno url\n\xff\t{B}\n".encode("latin-1"))
    rows = read("cc3m")
    assert told(rows, "url", "caption_origin", "reason") == [
        (A, "a cat", ""),
        ("", "", "bad_record"),
        ("", "", "bad_record"),
    ]
    (tmp_path / "cc12m.tsv").write_text(f"{A}\ta\tdog\n{B}\t\n{C}")
    rows = read("cc12m")
    assert told(rows, "url", "caption_origin", "reason") == [
        (A, "a dog", ""),
        (B, "", "no_caption"),
        (C, "", "no_caption"),
    ]
    swapped = read("cc3m", annotations="cc12m.tsv")
    assert {row["reason"] for row in swapped} == {"bad_record", "no_caption"}


def test_sbu_reads_its_lists_side_by_side(read, write):
    write("sbu-captions-all.json", {"image_urls": [A, B, C], "user_ids": ["u", "v"], "captions": ["a", "b"]})
    assert told(read("sbu"), "url", "caption_origin", "reason") == [(A, "a", ""), (B, "b", ""), (C, "", "no_caption")]
    write("sbu-captions-all.json", {"captions": ["a"], "image_urls": []})
    assert told(read("sbu"), "reason") == [("bad_record",)]


def test_real_samples(shared):
    folder = str(shared / "data/format_samples")
    cc12m = SourceSettings(name="cc12m", format="cc12m", path=folder, annotations="cc12m.tsv")
    cc3m = SourceSettings(name="cc3m", format="cc3m", path=folder, annotations="cc3m_GCC-training.tsv")
    first, second = (list(read_source(source)) for source in (cc12m, cc3m))
    assert [len(first), len(second)] == [5, 5]
    assert all(row["keep"] and http_url(row["url"]) and row["caption_origin"] for row in first + second)
    assert first[1]["caption_origin"] == "Two syringes and a small vial of vaccine."
    assert second[0]["caption_origin"] == "a very typical bus station"


TEXT_TYPES = {
    "string": pa.string(),
    "large": pa.large_string(),
    "binary": pa.binary(),
    "large binary": pa.large_binary(),
    "dictionary": pa.dictionary(pa.int32(), pa.string()),
}


@pytest.mark.parametrize("kind", TEXT_TYPES)
@pytest.mark.parametrize("pandas", [False, True])
def test_columns_of_any_type_of_text(read, tmp_path, kind, pandas):
    values = {"image_url": [A, B], "laion_2b": ["a café", None], "laion_coco": ["b", "c"]}
    table = pa.table({name: pa.array(column).cast(TEXT_TYPES[kind]) for name, column in values.items()})
    table = table.append_column("capsfusion", pa.nulls(2)).append_column("score", pa.array([0.5, None]))
    if pandas:
        table = pa.Table.from_pandas(table.to_pandas().iloc[::-1].iloc[::-1])
    pq.write_table(table, tmp_path / "capsfusion_0.parquet")
    assert told(read("capsfusion"), "url", "caption_origin", "caption_coco", "caption_capsfusion", "keep") == [
        (A, "a café", "b", "", True),
        (B, "", "c", "", True),
    ]
