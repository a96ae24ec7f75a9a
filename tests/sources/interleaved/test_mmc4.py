from __future__ import annotations

import gzip
import json
import zipfile
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgic.errors import InputError
from mmgic.schema import INTERLEAVED
from mmgic.settings import SourceSettings
from mmgic.sources.captions.pairs import url_id
from mmgic.sources.formats import read_source
from mmgic.sources.rows import image_part, text_part

PAGE = "http://x.test/page.html"


def image(name="a", index=0, **fields):
    return {"image_name": f"{name}.jpg", "raw_url": f"http://x.test/{name}.jpg", "matched_text_index": index, **fields}


def document(texts=("one", "two"), images=(), url=PAGE, **fields):
    return {"text_list": list(texts), "image_info": list(images), "url": url, "could_have_url_duplicate": 0, **fields}


@pytest.fixture
def read(tmp_path):
    def rows(*documents, format_name="mmc4", name="docs_shard_0_v2.jsonl"):
        text = "".join(f"{d if isinstance(d, str) else json.dumps(d)}\n" for d in documents)
        (tmp_path / name).write_text(text)
        found = list(read_source(SourceSettings(name="m", format=format_name, path=str(tmp_path))))
        assert all(list(row) == INTERLEAVED.names for row in found)
        assert len({row["row_id"] for row in found}) == len(found)
        return found

    return rows


def test_images_stand_before_their_sentences(read):
    [row] = read(document(["one", " two\n", "three"], [image("a", 2), image("b", 0), image("c", 2)]))
    assert (row["task"], row["image_id"], row["drops"]) == ("interleaved", url_id(PAGE), [])
    assert [i["url"][-5] for i in row["images"]] == ["a", "b", "c"]
    assert row["rounds"] == [
        {
            "instruction": [],
            "response": [
                image_part(1),
                text_part("one"),
                text_part("two"),
                image_part(0),
                image_part(2),
                text_part("three"),
            ],
        }
    ]


def test_pairs_are_an_image_and_its_sentence(read):
    rows = read(document(["one", ""], [image("a", 0), image("b", 1), image("c", 7)]), format_name="mmc4_pairs")
    assert [(row["image_id"], row["task"], row["reason"]) for row in rows] == [
        (f"{url_id(PAGE)}/0", "pair", ""),
        (f"{url_id(PAGE)}/1", "pair", "no_caption"),
        (f"{url_id(PAGE)}/2", "pair", "no_caption"),
    ]
    assert rows[0]["rounds"] == [{"instruction": [], "response": [image_part(0), text_part("one")]}]
    assert [len(row["images"]) for row in rows] == [1, 1, 1]


def test_a_missing_match_comes_from_the_similarities(read):
    unmatched = {key: value for key, value in image("a").items() if key != "matched_text_index"}
    matrix = [[0.1, 0.3], [0.4, 0.2]]
    [row] = read(document(images=[unmatched, image("b", 0)], similarity_matrix=matrix))
    assert row["rounds"][0]["response"] == [image_part(1), text_part("one"), image_part(0), text_part("two")]
    for wrong in (None, [[0.1, 0.3]], [["x", 1], [0.5, 1]], [[], []], "no"):
        [row] = read(document(images=[unmatched, image("b", 0)], similarity_matrix=wrong))
        assert [i["url"][-5] for i in row["images"]] == ["b"]
        assert row["drops"] == [{"reason": "image_unmatched", "count": 1}]


def test_images_too_little_like_their_sentence_are_left_out(read):
    likeness = {"matched_sim": 0.1}
    images = [image("a", 0, matched_sim=0.24), image("b", 1, matched_sim=0.239), image("c", 1, matched_sim="?")]
    [row] = read(document(images=images))
    assert [i["url"][-5] for i in row["images"]] == ["a", "c"]
    assert row["drops"] == [{"reason": "image_dissimilar", "count": 1}]
    # without a similarity of the match, the matrix's
    [row] = read(document(images=[image("a", 1), image("b", 0)], similarity_matrix=[[0.9, 0.2], [0.3, 0.9]]))
    assert [i["url"][-5] for i in row["images"]] == ["b"]
    [row] = read(document(images=[image("a", **likeness), image("b", 1, **likeness)]))
    assert (row["keep"], row["reason"]) == (False, "image_dissimilar")
    assert "min_similarity, 0.24," in row["detail"]
    pairs = read(document(images=images), format_name="mmc4_pairs")
    assert [pair["reason"] for pair in pairs] == ["", "image_dissimilar", ""]


def test_the_least_similarity_is_a_setting(read, tmp_path):
    read(document(images=[image("a", matched_sim=0.3), image("b", 1, matched_sim=0.5)]))
    for least, kept in ((-1.0, 2), (0.4, 1), (0.6, 0)):
        source = SourceSettings(name="m", format="mmc4", path=str(tmp_path), min_similarity=least)
        assert [len(row["images"]) for row in read_source(source)] == [kept]


def test_what_is_missing_is_counted(read):
    images = [image("a", 1), image("b", -1), image("c", True), image("d", 0, raw_url=None), None, image("e", 2)]
    [row] = read(document(["one", "two", None, ""], images))
    assert row["keep"]
    assert [i["url"][-5] for i in row["images"]] == ["a"]
    assert row["drops"] == [
        {"reason": "image_failed", "count": 2},
        {"reason": "image_unmatched", "count": 3},
        {"reason": "sentence_empty", "count": 2},
    ]


def test_bad_documents_are_rows_of_their_own(read):
    documents = [
        document(images=[image()], url="http://x.test/1"),
        document(images=[], url="http://x.test/2"),
        {"url": "http://x.test/3", "text_list": ["a"]},
        {"url": None, "text_list": None, "image_info": []},
        "[]",
        "{cut",
        document(images=[image()], url="http://x.test/1", could_have_url_duplicate=1),
    ]
    for format_name in ("mmc4", "mmc4_pairs"):
        rows = read(*documents, format_name=format_name)
        assert [row["reason"] for row in rows] == ["", *["bad_record"] * 5, "duplicate_id"]
        assert rows[4]["image_id"] == "docs_shard_0_v2.jsonl#5"


def test_shards_of_every_name_and_packing(read, tmp_path):
    def lines(number):
        return json.dumps(document(images=[image()], url=f"http://x.test/{number}")) + "\n"

    with zipfile.ZipFile(tmp_path / "docs_no_face_shard_10_v3.jsonl.zip", "w") as archive:
        archive.writestr("docs_no_face_shard_10_v3.jsonl", lines(1) + lines(2))
    (tmp_path / "docs_shard_2_v2.jsonl.gz").write_bytes(gzip.compress(lines(3).encode()))
    rows = read(document(images=[image()], url="http://x.test/0"))
    assert len(rows) == 4
    assert {row["image_id"] for row in rows} == {url_id(f"http://x.test/{i}") for i in range(4)}

    archive = tmp_path / "docs_no_face_shard_10_v3.jsonl.zip"
    archive.write_bytes(archive.read_bytes()[:-30])
    with pytest.raises(InputError, match="archive that is damaged or cut short"):
        read(document(images=[image()]))


def test_no_shards(tmp_path):
    with pytest.raises(InputError, match=r"holds no docs_\*shard_\*.jsonl\* or .*; put the dataset's"):
        list(read_source(SourceSettings(name="m", format="mmc4", path=str(tmp_path))))
    (tmp_path / "docs_shard_0_v2.jsonl").touch()
    with pytest.raises(InputError, match="holds no records of the format 'mmc4'"):
        list(read_source(SourceSettings(name="m", format="mmc4", path=str(tmp_path))))


def test_images_at_hand_by_name(read, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.jpg").touch()
    (tmp_path / "secret.jpg").touch()
    images = [image("a", 0, raw_url=None), image("b", 1), image("c", 1, image_name="../secret.jpg")]
    [row] = read(document(images=images))
    assert [(i["url"], i["image_path"]) for i in row["images"]] == [
        ("", str(tmp_path / "images/a.jpg")),
        ("http://x.test/b.jpg", ""),
        ("http://x.test/c.jpg", ""),
    ]


@given(
    texts=st.lists(st.sampled_from(["", "a", "b c", " "]), max_size=5),
    indices=st.lists(st.integers(-1, 6), max_size=5),
)
def test_every_usable_image_stands_before_its_sentence(tmp_path_factory, texts, indices):
    folder = tmp_path_factory.mktemp("mmc4")
    images = [image(str(i), index) for i, index in enumerate(indices)]
    (folder / "docs_shard_0_v2.jsonl").write_text(json.dumps(document(texts, images)) + "\n")
    usable = [index for index in indices if 0 <= index < len(texts) and texts[index].strip()]
    [row] = read_source(SourceSettings(name="m", format="mmc4", path=str(folder)))
    pairs = list(read_source(SourceSettings(name="m", format="mmc4_pairs", path=str(folder))))
    if not usable:
        assert row["reason"] == "bad_record"
        return
    parts = row["rounds"][0]["response"]
    following = [next(p["text"] for p in parts[i:] if p["image"] < 0) for i, p in enumerate(parts) if p["image"] >= 0]
    assert Counter(following) == Counter(texts[index].strip() for index in usable)
    assert [p["text"] for p in parts if p["image"] < 0] == [t.strip() for t in texts if t.strip()]
    told = [pair["rounds"][0]["response"][1]["text"] for pair in pairs if pair["keep"]]
    assert told == [texts[index].strip() for index in usable]
    assert len(pairs) == len(indices)


def test_the_real_document(shared):
    folder = str(shared / "data/format_samples/mmc4")
    [row] = read_source(SourceSettings(name="m", format="mmc4", path=folder))
    kinds = [part["image"] for part in row["rounds"][0]["response"]]
    assert kinds == [-1, 1, -1, 0, -1]
    pairs = list(read_source(SourceSettings(name="m", format="mmc4_pairs", path=folder)))
    assert [pair["rounds"][0]["response"][1]["text"][:19] for pair in pairs] == [
        "When you lock/unloc",
        "Press the master do",
    ]
