"""Files of a format's own names are read before any other of their kind."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmgic.settings import SourceSettings
from mmgic.sources.formats import read_source

TURNS = [{"from": "human", "value": "Hi?"}, {"from": "gpt", "value": "Hi."}]
URL = "http://x.test/1"
CASES = [
    *(("sharegpt", name, {"conversations": TURNS}) for name in ("ShareGPT_V3.json", "sharegpt_90k.json")),
    *(
        ("llava", name, {"conversations": TURNS})
        for name in ("llava_v1_5_mix665k.json", "sharegpt4v_cap100k.json", "share-captioner.json", "chat_llavar.json")
    ),
    ("alpaca", "alpaca_data.json", {"instruction": "Say hi.", "input": "", "output": "Hi."}),
    ("unimm_chat", "UniMM-Chat-v0.json", {"conversation": json.dumps(TURNS)}),
    ("capsfusion", "example_data.json", {"image_url": URL, "laion_2b": "a dog"}),
    ("laion_gpt4v", "gpt4v.jsonl", {"link": URL, "caption": "a dog"}),
    ("laion_coco_aesthetic", "laion-coco_v3_filter.parquet", {"url": URL, "caption": "a dog"}),
]


@pytest.mark.parametrize(("kind", "name", "record"), CASES, ids=[f"{kind}-{name}" for kind, name, _ in CASES])
def test_other_files_stop_no_source(kind: str, name: str, record: dict, tmp_path: Path, capsys) -> None:
    _, _, suffix = name.rpartition(".")
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist([record]), tmp_path / name)
        pq.write_table(pa.table({"a": [1]}), tmp_path / f"a_scores.{suffix}")
    else:
        (tmp_path / name).write_text(json.dumps(record if suffix == "jsonl" else [record]))
        (tmp_path / f"dataset_info.{suffix}").write_text('{"description": "what this is"}')
    source = SourceSettings(name="s", format=kind, path=str(tmp_path))
    assert [row["keep"] for row in read_source(source)] == [True]
    assert "holds 1 more, such as" in capsys.readouterr().out
    (tmp_path / name).rename(tmp_path / f"mine.{suffix}")  # without a known name, any will do
    for other in tmp_path.glob("[ad]*"):
        other.unlink()
    assert [row["keep"] for row in read_source(source)] == [True]
    assert capsys.readouterr().out == ""
