"""Text files in all their dresses, by Python's own codecs, and what is said of files that are no text."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import math
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgic.cleaning.splits import read_splits
from mmgic.descriptions.reading import load_descriptions
from mmgic.errors import InputError
from mmgic.evaluation.files import read_records
from mmgic.settings import SourceSettings
from mmgic.sources.reading.json_files import has_list, json_lines, read_json, stream_json
from mmgic.sources.reading.json_text import load_json, mended_blocks
from mmgic.sources.reading.opening import is_plain, open_text, text_lines

MARKED = ("utf-8-sig", "utf-16", "utf-32")
words = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=5).filter(
    lambda text: text.strip() and not text.startswith("\ufeff")
)


def dressed(text: str, encoding: str, pack: bool) -> bytes:
    content = text.encode(encoding)
    return gzip.compress(content) if pack else content


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("opening") / "a.txt"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(words, st.sampled_from(["\n", "\r\n", "\r"])), min_size=1),
    st.sampled_from(["utf-8", *MARKED]),
    st.booleans(),
)
def test_lines_in_any_dress(file: Path, lines: list[tuple[str, str]], encoding: str, pack: bool) -> None:
    file.write_bytes(dressed("".join(line + end for line, end in lines), encoding, pack))
    assert [text for _, text in text_lines(str(file))] == [line for line, _ in lines]
    with open_text(str(file)) as text:
        assert text.read() == "".join(f"{line}\n" for line, _ in lines)
    assert is_plain(str(file)) == (encoding == "utf-8" and not pack and all(end == "\n" for _, end in lines))


def test_line_ends_across_blocks(file: Path) -> None:
    for size in range((1 << 18) - 2, (1 << 18) + 2):
        file.write_bytes(b"x" * size + b"\r\ny\r")
        assert [len(text or "") for _, text in text_lines(str(file))] == [size, 1]


values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers(-(10**30), 10**30) | st.text(max_size=9) | st.just("NaN"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def mended(value: Any) -> Any:
    """What the reading promises: no value for NaN and Infinity, the digits of a long integer."""
    if isinstance(value, dict):
        return {name: mended(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [mended(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if type(value) is int and abs(value) >= 10**18 else value


class Dripping(io.BytesIO):
    """A file that returns few bytes at once."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(3 + self.tell() % 5)


@given(values, st.booleans())
def test_values_that_json_does_not_have(value: Any, ascii_only: bool) -> None:
    text = json.dumps([value], ensure_ascii=ascii_only)
    if ascii_only or text.encode(errors="replace").decode() == text:
        assert load_json(text) == [mended(value)]
        assert json.loads(b"".join(mended_blocks(Dripping(text.encode())))) == [mended(value)]


def test_integers_of_any_length(file: Path) -> None:
    long = "9" * 200_000
    file.write_text(f'{{"images": [{{"id": 12345678901234567890, "unread": {long}, "score": 0.{long[:30]}}}]}}')
    [record] = stream_json(str(file), "images.item")
    assert record == {"id": "12345678901234567890", "unread": long, "score": 1.0}


def test_lists_and_lines_stand_for_each_other(tmp_path: Path) -> None:
    records = [{"a": 1}, {"a": "é\u2028"}, {"b": [1, {"c": "}"}]}]
    as_lines, as_list = tmp_path / "lines.json", tmp_path / "list.jsonl"
    as_lines.write_text("\n\n".join(json.dumps(record, ensure_ascii=False) for record in records), encoding="utf-8")
    as_list.write_text(json.dumps(records, indent=2))
    for path in (as_lines, as_list):
        assert list(stream_json(str(path), "item")) == records
        assert [record for _, record in json_lines(str(path))] == records
        assert read_records(path) == records
    (tmp_path / "one.jsonl").write_text('{"a": 1}')
    assert list(stream_json(str(tmp_path / "one.jsonl"), "item")) == [{"a": 1}]
    (tmp_path / "object.json").write_text('{"annotations": [], "images": [1]}')  # no list, and not lines of one
    assert list(stream_json(str(tmp_path / "object.json"), "item")) == []
    assert [has_list(str(tmp_path / "object.json"), name) for name in ("annotations", "images", "x")] == [True, True, 0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b'{"images": [{"id": 1}', "cut short"),
        (b'{"images": []} {"images": []}', "more than one JSON value"),
        (b'{"images": ["caf\xe9"]}', "not UTF-8"),
        (b'{"images": [None]}', "not JSON"),
        ('{"images": ["é"]}'.encode("utf-16-le"), "UTF-16 without a byte order mark"),
        (codecs.BOM_UTF16_LE + b'{\0"', "damaged UTF-16"),
        (gzip.compress(b'{"images": []}' * 99, mtime=0)[:-9], "archive that is damaged or cut short"),
        (b"PK\3\4 and no more", "archive that is damaged or cut short"),
        (b"PAR1", "a Parquet file"),
        (b"/annex/objects/SHA256E-s1--2.json", "a git-annex pointer"),
        (b"BZh91AY&SY", "a bzip2 archive"),
    ],
)
def test_what_cannot_be_read_is_named(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=said) as error:
        list(stream_json(str(path), "images.item"))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_archives_with_several_files(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("b.jsonl", b'\xef\xbb\xbf{"a": 1}\r\n')
        archive.writestr("folder/a.jsonl", '{"a": 2}'.encode("utf-16"))
        archive.writestr("__MACOSX/._b.jsonl", b"\0\5\x16\7")
    assert [record for _, record in json_lines(str(path))] == [{"a": 1}, {"a": 2}]
    with pytest.raises(InputError, match="several files"):
        list(stream_json(str(path), "images.item"))


@pytest.mark.parametrize("encoding", ["utf-8", *MARKED])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lists_of_held_out_photos(encoding: str, end: str, tmp_path: Path) -> None:
    (tmp_path / "test.txt").write_bytes(f"1009434119.jpg{end}flickr30k-images/36979.JPG{end}12".encode(encoding))
    (tmp_path / "readme.txt").write_bytes(f"Splits of Flickr30k{end}".encode(encoding))
    splits = read_splits(SourceSettings(flickr30k=str(tmp_path)))
    assert splits.flickr30k == {"1009434119", "36979", "12"}
    assert splits.verdict("", "1009434119")["reason"] == "heldout_split"


def test_an_odd_line_in_a_list_of_held_out_photos(tmp_path: Path) -> None:
    (tmp_path / "test.txt").write_text("1009434119\n36979;x\n")
    with pytest.raises(InputError, match=r"line 2 of .*test.txt is no Flickr photo id"):
        read_splits(SourceSettings(flickr30k=str(tmp_path)))


@pytest.mark.parametrize("encoding", ["utf-8", *MARKED])
def test_files_of_evaluation_and_descriptions(encoding: str, tmp_path: Path) -> None:
    lines = [{"kind": "object", "label": name, "description": "seen", "unread": math.nan} for name in "ab"]
    for text in ("\r\n".join(map(json.dumps, lines)), json.dumps(lines, indent=1)):
        (tmp_path / "a.jsonl").write_bytes(dressed(text, encoding, pack=encoding == "utf-16"))
        assert load_descriptions(tmp_path / "a.jsonl").objects == {"a": "seen", "b": "seen"}
        assert [record["label"] for record in read_records(tmp_path / "a.jsonl")] == ["a", "b"]
    (tmp_path / "a.json").write_bytes('{"a": [Infinity, 1]}'.encode(encoding))
    assert read_json(tmp_path / "a.json") == {"a": [None, 1]}
