"""img2dataset's shards, written here by the tarfile and webdataset libraries."""

from __future__ import annotations

import io
import json
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
from PIL import Image

from mmgic.errors import InputError
from mmgic.images import ImageError, cell_path, read_image
from mmgic.settings import SourceSettings
from mmgic.sources.formats import read_source
from mmgic.sources.reading.shards import read_shard

URL = "http://x.test/{}.jpg".format


def photo(number: int) -> np.ndarray:
    return np.full((6, 9, 3), number, np.uint8)


def png(number: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(photo(number)).save(file, "PNG")
    return file.getvalue()


def write_tar(path, files):
    with tarfile.open(path, "w") as tar:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def sample(number: int, **fields) -> list[tuple[str, bytes]]:
    key = f"{number:09}"
    meta = {"key": key, "url": URL(number), "status": "success", "width": 9, "height": 6, **fields}
    return [
        (f"{key}.jpg", png(number)),
        (f"{key}.txt", f"caption {number}".encode()),
        (f"{key}.json", json.dumps(meta).encode()),
    ]


def write_table(path, records):
    names = ("key", "url", "status", "error_message", "width", "height")
    pq.write_table(pa.Table.from_pylist([dict(zip(names, record, strict=True)) for record in records]), path)


def test_shards_as_a_source(tmp_path):
    write_tar(tmp_path / "00000.tar", [*sample(0), *sample(1, laion_coco="coco", capsfusion="merged")])
    write_tar(tmp_path / "00001.tar", [*sample(101), *sample(1), ("000000109.txt", b"lost")])
    write_table(
        tmp_path / "00000.parquet",
        [
            ("000000000", URL(0), "success", None, 9, 6),
            ("000000001", URL(1), "success", None, 9, 6),
            ("000000002", URL(2), "failed_to_download", "HTTP Error 404", None, None),
            ("000000003", URL(3), "success", None, 9, 6),
        ],
    )
    rows = list(read_source(SourceSettings(name="s", format="webdataset", path=str(tmp_path))))
    assert [(row["url"], row["reason"]) for row in rows] == [
        (URL(0), ""),
        (URL(1), ""),
        (URL(2), "download_failed"),
        (URL(3), "image_missing"),
        (URL(101), ""),
        (URL(1), "duplicate_id"),
        ("", "image_missing"),
    ]
    assert [row["caption_origin"] for row in rows[:2]] == ["caption 0", "caption 1"]
    assert [row["caption_coco"] for row in rows[:2]] == ["", "coco"]
    assert rows[1]["caption_capsfusion"] == "merged"
    assert rows[2]["detail"] == "HTTP Error 404"
    for row in (rows[0], rows[1], rows[4]):
        assert np.array_equal(np.asarray(read_image(row["image_path"])), photo(int(row["caption_origin"].split()[1])))
        assert (row["width"], row["height"]) == (9, 6)


def test_shards_of_the_webdataset_library(tmp_path):
    with webdataset.TarWriter(str(tmp_path / "00000.tar")) as writer:
        for number in range(3):
            writer.write({"__key__": f"a.b/{number}", "png": photo(number), "txt": f"text {number}", "cls": 1})
    rows = list(read_source(SourceSettings(name="s", format="webdataset", path=str(tmp_path))))
    assert [(row["image_id"], row["caption_origin"], row["width"]) for row in rows] == [
        (f"00000/a.b/{number}", f"text {number}", 0) for number in range(3)
    ]
    assert all(np.array_equal(np.asarray(read_image(row["image_path"])), photo(i)) for i, row in enumerate(rows))


def test_captions_of_other_columns(tmp_path):
    only_json = [sample(0, caption="of the json")[i] for i in (0, 2)]
    long_names = [("x" * 300 + ".jpg", png(1)), ("x" * 300 + ".txt", "größe".encode())]
    odd = [("README", b""), ("k.json", b"{broken"), ("k.webp", png(2)), ("k.txt", b"\xff odd")]
    write_tar(tmp_path / "0.tar", [*only_json, *long_names, *odd])
    rows = list(read_source(SourceSettings(name="s", format="webdataset", path=str(tmp_path))))
    assert [row["caption_origin"] for row in rows] == ["of the json", "größe", "\ufffd odd"]
    assert [read_image(row["image_path"]).size for row in rows] == [(9, 6)] * 3


def test_images_at_hand_are_found_by_their_url(tmp_path):
    shards = tmp_path / "fetched"
    shards.mkdir()
    write_tar(shards / "00000.tar", [*sample(0), *sample(1)])
    (shards / "00001").mkdir()
    (shards / "00001/000010000.jpg").write_bytes(png(7))
    write_table(
        shards / "00001.parquet",
        [
            ("000010000", URL(7), "success", None, 9, 6),
            ("0000101", URL(8), "failed_to_download", "no", None, None),
            ("../../etc", URL(9), "success", None, 9, 6),
        ],
    )
    (tmp_path / "cc12m.tsv").write_text("".join(f"{URL(i)}\tcaption {i}\n" for i in (1, 8, 7, 9)))
    source = SourceSettings(name="s", format="cc12m", path=str(tmp_path), images="fetched")
    rows = list(read_source(source))
    assert [bool(row["image_path"]) for row in rows] == [True, False, True, False]
    assert [np.asarray(read_image(row["image_path"]))[0, 0, 0] for row in rows if row["image_path"]] == [1, 7]
    assert [(row["width"], row["height"]) for row in rows] == [(9, 6), (0, 0), (9, 6), (0, 0)]


def test_what_is_no_shard_says_so(tmp_path):
    source = SourceSettings(name="s", format="webdataset", path=str(tmp_path))
    with pytest.raises(InputError, match=r"holds no \*.tar"):
        list(read_source(source))
    (tmp_path / "0.tar").write_bytes(b"nothing like a tar" * 100)
    with pytest.raises(InputError, match="not an uncompressed tar archive"):
        list(read_source(source))
    write_tar(tmp_path / "0.tar", [*sample(0), ("000000001.jpg", bytes(100_000))])
    whole = (tmp_path / "0.tar").read_bytes()
    (tmp_path / "0.tar").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="cut short"):
        list(read_source(source))


def test_links_in_a_shard_lead_nowhere(tmp_path):
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        link = tarfile.TarInfo("a.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    assert list(read_shard(str(tmp_path / "0.tar"))) == []


def read(tmp_path):
    rows = list(read_source(SourceSettings(name="s", format="webdataset", path=str(tmp_path))))
    return [(row["image_id"], row["caption_origin"], row["reason"]) for row in rows]


def test_files_of_one_key_with_one_suffix_are_samples_of_their_own(tmp_path):
    files = [("a.jpg", png(1)), ("a.txt", b"one"), ("b.jpg", png(3)), ("a.jpg", png(2)), ("a.txt", b"two")]
    write_tar(tmp_path / "0.tar", [*files, ("b.txt", b"three")])
    rows = list(read_source(SourceSettings(name="s", format="webdataset", path=str(tmp_path))))
    found = [(row["caption_origin"], int(np.asarray(read_image(row["image_path"]))[0, 0, 0])) for row in rows]
    assert found == [("one", 1), ("two", 2), ("three", 3)]
    assert [row["keep"] for row in rows] == [True] * 3
    assert [row["image_id"] for row in rows] == ["0/a", "0/a#2", "0/b"]


def test_files_of_one_key_are_gathered_wherever_they_stand(tmp_path):
    pictures, captions = (
        [(f"{i}.{end}", content) for i in range(3)] for end, content in (("png", png(1)), ("txt", b"x"))
    )
    write_tar(tmp_path / "0.tar", [*pictures, *captions[::-1]])
    assert read(tmp_path) == [(f"0/{i}", "x", "") for i in range(3)]


def test_keys_with_dots(tmp_path):
    files = [
        *((f"photo.{i}.{end}", content) for i in (1, 2) for end, content in (("jpg", png(i)), ("txt", b"%d" % i))),
        *(("v1.5/x.jpg", png(3)), ("v1.5/x.txt", b"3")),
        *(("y.jpg", png(4)), ("y.seg.png", png(5)), ("y.txt", b"4")),
        *(("z.a.jpg", png(6)), ("z.b.jpg", png(7))),
    ]
    write_tar(tmp_path / "0.tar", files)
    assert read(tmp_path) == [
        ("0/photo.1", "1", ""),
        ("0/photo.2", "2", ""),
        ("0/v1.5/x", "3", ""),
        ("0/y", "4", ""),
        ("0/z.a", "", "no_caption"),
        ("0/z.b", "", "no_caption"),
    ]


@pytest.mark.parametrize("suffix", ["jpg", "JPEG", "png", "webp", "gif", "bmp", "tiff"])
@pytest.mark.parametrize("layout", ["tar", "folder", "table"])
def test_any_image_suffix_in_each_layout(suffix, layout, tmp_path):
    shards = tmp_path / "fetched"
    (shards / "00000").mkdir(parents=True)
    if layout == "tar":
        write_tar(shards / "00000.tar", [(f"0.1.{suffix}", png(9)), ("0.1.json", json.dumps({"url": URL(1)}).encode())])
    elif layout == "table":
        (shards / "00000").rmdir()
        record = {"key": "0.1", "url": URL(1), "status": "success", "width": 9, "height": 6, suffix: png(9)}
        pq.write_table(pa.Table.from_pylist([record]), shards / "00000.parquet")
    else:
        (shards / f"00000/0.1.{suffix}").write_bytes(png(9))
        (shards / "00000/._0.1.jpg").write_bytes(b"")
        write_table(shards / "00000.parquet", [("0.1", URL(1), "success", None, 9, 6)])
    (tmp_path / "cc12m.tsv").write_text(f"{URL(1)}\tcaption\n")
    [row] = read_source(SourceSettings(name="s", format="cc12m", path=str(tmp_path), images="fetched"))
    assert read_image(row["image_path"]).size == (9, 6)


def test_shards_that_are_folders(tmp_path):
    (tmp_path / "00000").mkdir()
    for name, content in [*sample(0), *sample(1), ("._000000000.jpg", b""), ("000000001.webp", png(1))]:
        (tmp_path / "00000" / name).write_bytes(content)
    (tmp_path / "00000/000000001.jpg").unlink()
    rest = [("000000001", URL(1), "success", None, 9, 6), ("000000002", URL(2), "failed_to_download", "no", None, None)]
    write_table(tmp_path / "00000.parquet", [("000000000", URL(0), "success", None, 9, 6), *rest])
    rows = list(read_source(SourceSettings(name="s", format="webdataset", path=str(tmp_path))))
    assert [(row["url"], row["caption_origin"], row["reason"]) for row in rows] == [
        (URL(0), "caption 0", ""),
        (URL(1), "caption 1", ""),
        (URL(2), "", "download_failed"),
    ]
    assert [row["image_path"].rpartition("/")[2] for row in rows] == ["000000000.jpg", "000000001.webp", ""]
    assert all(np.array_equal(np.asarray(read_image(row["image_path"])), photo(i)) for i, row in enumerate(rows[:2]))


def image_table(path, kind):
    """A shard of img2dataset's parquet layout: the images that arrived and the urls that failed in one table."""
    names = ("key", "caption", "url", "status", "error_message", "width", "height")
    rows = [(f"a.{i}", f"caption {i}", URL(i), "success", None, 9, 6) for i in range(5)]
    rows[3] = ("a.3", "caption 3", URL(3), "failed_to_download", "HTTP Error 404", None, None)
    table = pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows])
    images = pa.array([None if i == 3 else png(i) for i in range(5)], kind)
    pq.write_table(table.append_column("webp", images), path, row_group_size=2)


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_tables_with_images_are_shards(tmp_path, kind):
    image_table(tmp_path / "00000.parquet", kind)
    write_tar(tmp_path / "00001.tar", sample(101))
    rows = list(read_source(SourceSettings(name="s", format="webdataset", path=str(tmp_path))))
    assert [(row["url"], row["caption_origin"], row["reason"]) for row in rows] == [
        *((URL(i), f"caption {i}", "") for i in (0, 1, 2, 4)),
        (URL(3), "", "download_failed"),
        (URL(101), "caption 101", ""),
    ]
    for number, row in zip((0, 1, 2, 4), rows, strict=False):
        assert np.array_equal(np.asarray(read_image(row["image_path"])), photo(number))
        assert (row["width"], row["height"]) == (9, 6)


def test_a_cell_without_an_image_is_a_missing_image(tmp_path):
    image_table(tmp_path / "0.parquet", pa.binary())
    assert read_image(cell_path(f"{tmp_path}/0.parquet", "webp", 4)).size == (9, 6)
    for column, row in (("webp", 3), ("webp", 5), ("jpg", 0)):
        with pytest.raises(ImageError, match="image_missing"):
            read_image(cell_path(f"{tmp_path}/0.parquet", column, row))
    with pytest.raises(ImageError, match="image_undecodable"):
        read_image(cell_path(f"{tmp_path}/0.parquet", "url", 0))


def test_tfrecord_is_refused_by_name(tmp_path):
    (tmp_path / "00000.tfrecord").write_bytes(b"")
    write_table(tmp_path / "00000.parquet", [("0", URL(0), "success", None, 9, 6)])
    with pytest.raises(InputError, match=r"00000.tfrecord is of img2dataset's layout 'tfrecord', which is not read"):
        read(tmp_path)
    (tmp_path / "cc12m.tsv").write_text(f"{URL(0)}\tcaption\n")
    with pytest.raises(InputError, match="tfrecord"):
        list(read_source(SourceSettings(name="s", format="cc12m", path=str(tmp_path), images=".")))
