"""Halves of surrogate pairs: as Python's own codecs see them, wherever the blocks end, and in every format."""

from __future__ import annotations

import io
import json
import re
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mmgic.presets import preset
from mmgic.schema import SCHEMAS
from mmgic.settings import SourceSettings
from mmgic.sources.formats import FORMATS, read_source
from mmgic.sources.reading.json_files import stream_json, stream_json_members
from mmgic.sources.reading.json_text import load_json, mend_halves, mended_blocks
from mmgic.stages.rows import to_table

pieces = st.sampled_from([*'\ud83d\ude00\udbff\udc00\ud7ff\ue000\\"/u\0\n', "ud83d", "é", "😀", "\\ud83d", "de00"])
texts = st.lists(pieces | st.text(max_size=3), max_size=12).map("".join)


def mended(text: str) -> str:
    """By UTF-16's own decoder, which joins what is a pair."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class Dripping(io.BytesIO):
    """A file that returns a few bytes at once."""

    def __init__(self, content: bytes, sizes: list[int]) -> None:
        super().__init__(content)
        self.sizes = sizes
        self.reads = 0

    def read(self, size: int | None = -1) -> bytes:
        self.reads += 1
        return super().read(self.sizes[self.reads % len(self.sizes)])


@given(texts, st.booleans())
@example("\ud83d", True)
@example("\\ud83d", True)
@example("\\\ud83d", True)
@example("\ud83d\\ude00", True)
def test_halves_are_replaced_and_nothing_else(text: str, upper: bool) -> None:
    written = json.dumps([text])
    if upper:
        written = written.replace("\\ud", "\\uD").replace("\\ude", "\\uDE")
        text = json.loads(written)[0]
    assert load_json(written) == [mended(text)]
    assert len(mend_halves(written)) == len(written)


@given(st.lists(texts, max_size=3), st.booleans(), st.lists(st.integers(1, 30), min_size=1, max_size=4))
def test_blocks_may_end_anywhere(values: list[str], ascii_only: bool, sizes: list[int]) -> None:
    values = values if ascii_only else [mended(value) for value in values]
    written = json.dumps(values, ensure_ascii=ascii_only)
    blocks = b"".join(mended_blocks(Dripping(written.encode(), sizes)))
    assert blocks.decode() == mend_halves(written)
    assert json.loads(blocks) == [mended(value) for value in values]


@given(st.binary(max_size=60), st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_bytes_without_halves_pass(content: bytes, sizes: list[int]) -> None:
    content = content.replace(b"d", b"").replace(b"D", b"")
    assert b"".join(mended_blocks(Dripping(content, sizes))) == content


@settings(deadline=None)
@given(st.lists(texts, min_size=1, max_size=4))
def test_streamed_files_hold_the_mended_texts(values: list[str]) -> None:
    padded = ["x" * 65_530, *values]  # across the border of a block
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.json"
        path.write_text(json.dumps(padded))
        assert list(stream_json(str(path), "item")) == [mended(value) for value in padded]
        path.write_text(json.dumps({"a" * 65_520: 0, "k": values}))
        assert dict(stream_json_members(str(path)))["k"] == [mended(value) for value in values]


SOURCES = [s for s in preset("toy-all").sources if s.name not in ("objects365_v1", "v3det", "visual_genome_ambiguous")]
ODD = r"\ud83d\u0000 \\ud83d \ude00\ud83d\ude00"  # between two words
READ = "\ufffd\0 \\ud83d \ufffd😀"
NOT_JSON = {
    "capsfusion",
    "laion_coco_aesthetic",
    "cc3m",
    "cc12m",
    "webdataset",
    "unimm_chat",
    "laion_gpt4v",
    "magicbrush",
}


@pytest.fixture(scope="module")
def worlds(world: Path, make_world: Callable[[], Path]) -> tuple[Path, Path]:
    """The same datasets twice: as they are, and with odd texts after the articles in their JSON files."""
    roots = world, make_world()
    for path in _json(roots[1]):
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                files = {name: archive.read(name) for name in archive.namelist()}
            with zipfile.ZipFile(path, "w") as archive:
                for name, content in files.items():
                    archive.writestr(name, odd(content))
        else:
            path.write_bytes(odd(path.read_bytes()))
    return roots


def _json(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*.json*") if path.is_file()]


def odd(content: bytes) -> bytes:
    return re.sub(rb"\b(a|the) ", lambda match: match[0] + ODD.encode() + b" ", content)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_every_format_reads_them(source: SourceSettings, worlds: tuple[Path, Path]) -> None:
    folders = [root / Path(source.path).name for root in worlds]
    plain, odd = (list(read_source(replace(source, path=str(folder), karpathy="", flickr30k=""))) for folder in folders)
    assert [row["keep"] for row in odd] == [row["keep"] for row in plain]
    stored = to_table(odd, SCHEMAS[FORMATS[source.format].corpus]).to_pylist()
    pairs = ((path, folders[0] / path.relative_to(folders[1])) for path in _json(folders[1]))
    has_odd = any(path.read_bytes() != before.read_bytes() for path, before in pairs)
    assert has_odd == (source.name not in NOT_JSON)
    assert has_odd == (repr(READ)[1:-1] in str(stored))


TURNS = json.dumps([{"from": "human", "value": "a ODD?"}, {"from": "gpt", "value": "ODD"}])
FORMS = {  # of formats that usually come as Parquet or in archives
    "capsfusion": (
        "a.json",
        '[{"image_url": "http://x.test/ODD1", "laion_2b": "ODD", "laion_coco": "", "capsfusion": ""}]',
    ),
    "laion_gpt4v": ("a.jsonl", '{"link": "http://x.test/1", "caption": "ODD"}'),
    "unimm_chat": ("a.json", json.dumps([{"id": "1", "conversation": TURNS}])),
    "webdataset": ("a.tar", '{"url": "http://x.test/1", "laion_coco": "ODD"}'),
}


@pytest.mark.parametrize("kind", FORMS)
def test_other_forms_too(kind: str, tmp_path: Path) -> None:
    name, record = FORMS[kind]
    content = record.replace("ODD", ODD.replace(" ", "-") if kind == "capsfusion" else ODD).encode()
    if kind == "unimm_chat":  # JSON inside JSON
        content = record.replace("ODD", ODD.replace("\\", "\\\\")).encode()
    if kind == "webdataset":
        with tarfile.open(tmp_path / name, "w", errors="surrogateescape") as tar:
            for file, part in (("caf\udce9.jpg", b""), ("caf\udce9.json", content)):
                member = tarfile.TarInfo(file)
                member.size = len(part)
                tar.addfile(member, io.BytesIO(part))
    else:
        (tmp_path / name).write_bytes(content)
    rows = list(read_source(SourceSettings(name="s", format=kind, path=str(tmp_path))))
    [stored] = to_table(rows, SCHEMAS[FORMATS[kind].corpus]).to_pylist()
    assert stored["keep"]
    assert repr(READ.replace(" ", "-") if kind == "capsfusion" else READ)[1:-1] in str(stored)
