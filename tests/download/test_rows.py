from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset

from mmgic.download import DownloadImages
from mmgic.download.shard import remove_orphans
from mmgic.errors import InputError
from mmgic.images import read_image
from mmgic.settings import SourceSettings
from mmgic.sources.captions.pairs import captioned_image
from mmgic.sources.formats import read_source
from mmgic.sources.rows import image_part, interleaved, text_part, without_images

from .conftest import SETTINGS, picture


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix != ".unfinished"}


def test_a_batch_is_a_shard_that_webdataset_and_our_reader_understand(site, download, tmp_path):
    urls = [site.url("png/1"), site.url("status/404"), site.url("jpeg/2"), site.url("png/1")]
    rows = download(*urls)
    assert [row["keep"] for row in rows] == [True, False, True, True]
    assert rows[0]["image_path"] == rows[3]["image_path"]  # one url, one request
    assert site.seen["png/1"] == 1

    [tar, table] = sorted((tmp_path / "shards").iterdir(), key=lambda path: path.suffix, reverse=True)
    samples = list(webdataset.WebDataset(str(tar), shardshuffle=False).decode("rgb8"))
    assert [(s.get("png", s.get("jpg")).shape, s["txt"], s["json"]["url"]) for s in samples] == [
        ((16, 24, 3), "number 0", urls[0]),
        ((16, 24, 3), "number 2", urls[2]),
    ]
    assert samples[0]["json"]["sha256"] == hashlib.sha256(picture(1)).hexdigest()
    metadata = pq.read_table(table).to_pylist()
    assert [(m["url"], m["status"], m["width"]) for m in metadata] == [
        (urls[0], "success", 24),
        (urls[1], "failed_to_download", None),
        (urls[2], "success", 24),
    ]

    read = list(read_source(SourceSettings(name="shards", format="webdataset", path=str(tmp_path / "shards"))))
    assert [(r["url"], r["image_path"], r["caption_origin"], r["reason"]) for r in read] == [
        (urls[0], rows[0]["image_path"], "number 0", ""),
        (urls[2], rows[2]["image_path"], "number 2", ""),
        (urls[1], "", "", "download_failed"),
    ]


def test_a_batch_done_again_writes_the_same_bytes(site, download, tmp_path):
    urls = [site.url(f"png/{i}") for i in range(9)]
    first = download(*urls)
    before = shards(tmp_path / "shards")
    assert len(before) == 2
    (tmp_path / "shards" / f"{next(iter(before)).split('.')[0]}.tar.7-0a.unfinished").write_text("left by a killed run")
    assert download(*urls) == first
    assert shards(tmp_path / "shards") == before
    download(*urls[:5])
    assert len(shards(tmp_path / "shards")) == 4


def test_a_network_that_is_down_stops_the_batch_and_writes_nothing(site, download, closed_port, tmp_path):
    lost = [f"http://127.0.0.{i}:{closed_port}/" for i in range(2, 11)]
    sentence = r"9 of the 10 images .*cannot connect.*download.max_failure_rate = 0.5; .*run the same command again"
    with pytest.raises(InputError, match=sentence):
        download(*lost, site.url("png/1"), retries=0)
    assert not (tmp_path / "shards").exists()
    found = [site.url(f"png/{i}") for i in range(9)]
    assert [row["keep"] for row in download(*lost, *found, retries=0)] == [False] * 9 + [True] * 9
    dead = [site.url(f"status/404/{i}") for i in range(9)]  # these are answers
    assert {row["reason"] for row in download(*dead, site.url("png/1"))} == {"download_failed", ""}
    few = download(*lost[:7], retries=0)  # too few to tell an outage from dead hosts
    assert {row["reason"] for row in few} == {"host_unreachable"}


def test_shards_that_no_row_names_are_removed(site, download, tmp_path):
    folder = tmp_path / "shards"
    download(site.url("png/1"), site.url("png/2"))
    orphan = set(shards(folder))
    [row] = download(site.url("png/3"))
    (folder / "0123456789abcdef.tar.unfinished").write_text("left by a kill")
    remove_orphans(str(folder), [pa.array([row["image_path"], "", "/elsewhere/1.jpg"]), pa.array([], pa.string())])
    assert len(list(folder.iterdir())) == 2
    assert not orphan & set(shards(folder))
    assert read_image(row["image_path"]).size == (24, 16)


def test_rows_that_need_nothing_are_left_alone(tmp_path):
    rows = [
        captioned_image("s", "1", 0, image_path="/images/1.jpg"),
        captioned_image("s", "2", 0, url="http://127.0.0.1:1/", image_path="/images/2.jpg"),
        captioned_image("s", "3", 0, url="http://127.0.0.1:1/", keep=False, reason="no_caption"),
    ]
    assert DownloadImages(SETTINGS, str(tmp_path / "none"))(rows) == rows
    assert not (tmp_path / "none").exists()


def images_of(row: dict) -> list[dict]:
    return [{"url": url, "image_path": "", "codes": []} for url in row]


def test_a_document_loses_what_failed_and_a_conversation_does_not_survive_it(site, tmp_path):
    parts = [image_part(0), text_part("a"), image_part(1), image_part(2), text_part("b"), image_part(1)]
    urls = [site.url("status/404"), site.url("png/1"), site.url("text/"), site.url("png/2")]
    rounds = [([], [*parts, image_part(3)])]
    document = {**interleaved("m", "1", 0, "interleaved", rounds=rounds), "images": images_of(urls)}
    conversation = {**document, "task": "image_conversation", "row_id": 2}
    hopeless = {**interleaved("m", "3", 0, "interleaved", rounds=[([], parts[:2])]), "images": images_of(urls[:1])}
    ready = [{"url": "", "image_path": "/x.jpg", "codes": []}, *images_of(urls[1:2])]
    mixed = {**interleaved("m", "4", 0, "pair", rounds=[([], parts[:1])]), "images": ready}
    made = DownloadImages(SETTINGS, str(tmp_path))([document, conversation, hopeless, mixed])

    assert [row["reason"] for row in made] == ["", "download_failed", "download_failed", ""]
    assert made[1]["detail"] == f"{urls[0]}: HTTP 404"
    assert [image["url"] for image in made[0]["images"]] == [urls[1], urls[3]]
    assert made[0]["rounds"][0]["response"] == [
        text_part("a"),
        image_part(0),
        text_part("b"),
        image_part(0),
        image_part(1),
    ]
    assert made[0]["drops"] == [{"reason": "image_failed", "count": 2}]
    assert [read_image(image["image_path"]).size for image in made[0]["images"]] == [(24, 16)] * 2
    assert made[3]["images"][0] == ready[0]
    assert made[3]["images"][1]["image_path"] == made[0]["images"][0]["image_path"]


def test_without_images_keeps_what_the_parts_point_to():
    parts = [part for i in range(5) for part in (image_part(i), text_part(f"t{i}"))]
    row = {**interleaved("m", "1", 0, "interleaved", rounds=[(parts[:4], parts[4:])]), "images": images_of("abcde")}
    for gone in ([], [0], [4], [1, 3], [0, 1, 2, 3]):
        left = without_images(row, dict.fromkeys(gone, ("download_failed", "HTTP 404")))
        seen = [
            left["images"][p["image"]]["url"] for r in left["rounds"] for s in r.values() for p in s if p["image"] >= 0
        ]
        assert seen == [url for i, url in enumerate("abcde") if i not in gone]
        texts = [p["text"] for r in left["rounds"] for s in r.values() for p in s if p["image"] < 0]
        assert texts == [f"t{i}" for i in range(5)]


def test_refused_addresses_are_told_apart_from_dead_links(site, tmp_path):
    careful = DownloadImages(replace(SETTINGS, allow_private_addresses=False), str(tmp_path))
    [row] = careful([captioned_image("s", "1", 0, url=site.url("png/1"))])
    assert row["reason"] == "download_refused"
