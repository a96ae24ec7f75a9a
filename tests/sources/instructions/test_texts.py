import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmgic.settings import SourceSettings
from mmgic.sources.formats import read_source
from mmgic.sources.instructions.texts import plain_text


def read(kind, folder):
    return list(read_source(SourceSettings(name="s", format=kind, path=str(folder))))


def said(row):
    return [(one["instruction"][0]["text"], one["response"][0]["text"]) for one in row["rounds"]]


def test_alpaca_inputs_follow_their_instruction(write, tmp_path):
    records = [
        {"instruction": "Add.", "input": "1 + 1", "output": "2"},
        {"instruction": "Say hi.", "input": "", "output": "Hi."},
        {"instruction": "Say hi.", "input": "", "output": "Hi."},
        {"instruction": "", "input": "x", "output": "y"},
        7,
    ]
    write("alpaca_data.json", records)
    rows = read("alpaca", tmp_path)
    assert [row["reason"] for row in rows] == ["", "", "duplicate_id", "bad_record", "bad_record"]
    assert said(rows[0]) == [("Add.\n\n1 + 1", "2")]
    assert {row["task"] for row in rows} == {"text_only"}


def test_sharegpt(write, tmp_path):
    turns = [("gpt", "Hi"), ("human", "a"), ("gpt", "<div><p>One</p><p>Two &amp; three</p></div>"), ("human", "b")]
    spoken = [{"from": speaker, "value": text} for speaker, text in turns]
    write("talk.json", [{"id": "x", "conversations": spoken}, {"id": "y", "conversations": []}, {"id": "z"}])
    rows = read("sharegpt", tmp_path)
    assert [row["reason"] for row in rows] == ["", "bad_record", "bad_record"]
    assert said(rows[0]) == [("a", "One\n\nTwo & three")]
    assert rows[0]["drops"] == [{"reason": "round_malformed", "count": 2}]


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("Use `<div>` for that.", "Use `<div>` for that."),
        ("a < b\n  and c", "a < b\n  and c"),
        ("<p>One\n two</p><ul><li>x</li><li>y</li></ul>", "One two\n\n- x\n- y"),
        ("<div>See<pre>if x:\n    y()</pre>it</div>", "See\n```\nif x:\n    y()\n```\nit"),
        ("<p>a<script>alert(1)</script>b<button>Copy</button></p>", "ab"),
    ],
)
def test_messages_in_html_become_text_and_others_stay(message, text):
    assert plain_text(message) == text


def test_laion_gpt4v(tmp_path):
    rows = [{"link": "https://x/1.jpg", "caption": " Long.\n\nText. "}, {"link": None, "caption": "a"}]
    rows += [{"link": "https://x/2.jpg", "caption": None}, {"link": "https://x/1.jpg", "caption": "again"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "train.parquet")
    made = read("laion_gpt4v", tmp_path)
    assert [row["reason"] for row in made] == ["", "bad_record", "no_caption", "duplicate_id"]
    assert made[0]["task"] == "detailed_caption"
    assert made[0]["rounds"][0]["response"][0]["text"] == "Long.\n\nText."
    assert made[0]["images"][0]["url"] == "https://x/1.jpg"
