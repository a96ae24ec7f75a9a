"""The HTML page of a run."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgic.analysis.figures import smoothed
from mmgic.analysis.outcome import duration, stage_starts
from mmgic.analysis.report import write_report
from mmgic.errors import InputError
from mmgic.settings import ToySettings

VOID = {"meta", "br", "image", "rect", "path", "use", "link", "img"}


class Page(HTMLParser):
    """Checks that tags close in order and collects addresses, scripts and text."""

    def __init__(self, path):
        super().__init__()
        self.open, self.links, self.scripts, self.texts = [], [], 0, []
        self.feed(path.read_text(encoding="utf-8"))
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.scripts += tag == "script"
        self.links += [value for name, value in attributes if name in ("src", "href", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def test_page_stands_alone_and_escapes_what_it_shows(run_folder):
    page = Page(write_report(*run_folder))
    assert page.scripts == 0
    assert all(link.startswith(("data:image/", "#")) for link in page.links)
    text = " ".join("".join(page.texts).split())
    assert "Toy numbers" in text
    assert "trained says <script>alert('label')</script>" in text
    assert "dog, <script>alert('label')</script> Center, 2 tokens" in text
    assert "image_missing 1" in text
    assert "attribute_rare 3" in text
    assert "85.2" in text
    assert "a teal dog" in text
    assert "Is there a dog?" in text
    assert "a second question" not in text.lower()  # examples are of an image each
    assert "Yes 66.7" in text
    assert "Table 13: detection sources" in text


def test_a_person_finds_the_way(run_folder):
    """Contents, settings, what it was made with, how long it took, and commands for what is there."""
    folder, settings = run_folder
    html = write_report(folder, settings).read_text()
    contents = re.findall(r'<a href="#([^"]+)">', html)
    assert contents == re.findall(r'<section id="([^"]+)">', html)
    assert {"run", "scores", "training", "data", "statistics", "images", "documents", "answers-1"} <= set(contents)
    assert f"<td>{folder}</td>" in html
    assert "<td>6.0 s</td>" in html  # four tables of 1.5 s
    assert "<td>2 min 0 s on 32 worker(s) with 1 GPU(s) each</td>" in html
    for name in ("commit", "packages", "machine"):
        assert f"<tr><th>{name}</th>" in html
    assert f"mmgic view {folder}" in html
    assert "mmgic caption" not in html
    assert "mask_prob: 0.9" in html
    (folder / "training" / "pretrain" / "model").mkdir()
    (folder / "training" / "pretrain" / "model" / "config.json").touch()
    assert (
        f"mmgic caption PICTURE --model {folder}/training/pretrain/model" in write_report(folder, settings).read_text()
    )


def test_words_of_answers_are_marked(run_folder):
    html = write_report(*run_folder).read_text()
    assert '<span class="wrong">says</span>' in html
    assert '<span class="right">Yes</span>' in html


def test_stages_are_named_where_they_begin():
    steps = [{"step": i, "stage": 1 + i // 3} for i in range(7)]
    assert stage_starts(steps, ["ic", "mmgic"]) == {0: "ic", 3: "mmgic", 6: "3"}
    assert stage_starts([{"step": 0, "stage": "continuous"}, {"step": 1, "stage": "quantized"}]) == {
        0: "continuous",
        1: "quantized",
    }
    assert stage_starts(steps[:3], ["ic"]) == stage_starts([{"step": 0}]) == {}


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=400))
def test_smoothing_keeps_what_is_level(values):
    found = smoothed(values)
    half = len(values) // 100
    assert len(found) == len(values)
    for i, value in enumerate(found):
        window = values[max(0, i - half) : i + half + 1]
        assert value == pytest.approx(sum(window) / len(window), abs=1e-6)


def test_durations_are_read_at_a_glance():
    assert [duration(s) for s in (4.25, 59.9, 60, 200.4, 7500)] == [
        "4.2 s",
        "59.9 s",
        "1 min 0 s",
        "3 min 20 s",
        "2 h 5 min",
    ]


def test_other_trainings_have_their_curves(run_folder):
    folder, settings = run_folder
    other = folder / "training" / "tokenizer"
    other.mkdir()
    lines = [{"step": i, "stage": "continuous" if i < 2 else "quantized", "cosine": i / 4} for i in range(4)]
    (other / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    html = write_report(folder, settings).read_text()
    assert "<summary>tokenizer, 4 steps</summary>" in html
    assert '<section id="other-runs">' in html


def test_long_lists_are_folded(run_folder):
    folder, settings = run_folder
    assert "regions</summary>" not in write_report(folder, settings).read_text()
    table = folder / "mmgic" / "tokens" / "part-0.parquet"
    rows = pq.read_table(table)
    many = [{**row, "regions": row["regions"] * 20} for row in rows.to_pylist()]
    pq.write_table(pa.Table.from_pylist(many, rows.schema), table)
    assert "<summary>40 regions</summary>" in write_report(folder, settings).read_text()


def test_regions_are_drawn_where_they_are(run_folder):
    """A square of half the frame's edge on an image of 90 x 60 pixels: 45 x 30 at (22.5, 30)."""
    html = write_report(*run_folder).read_text()
    assert re.search(r'<rect x="22.5" y="30.0" width="45.0" height="30.0"', html)


def test_real_runs_are_not_called_toys(run_folder):
    folder, settings = run_folder
    assert "Toy numbers" not in write_report(folder, replace(settings, toy=ToySettings())).read_text()


def test_same_run_same_page(run_folder):
    first = write_report(*run_folder).read_text()
    assert write_report(*run_folder).read_text() == first


def test_a_page_of_training_alone(run_folder, tmp_path_factory):
    folder, settings = run_folder
    other = tmp_path_factory.mktemp("other")
    (folder / "training").rename(other / "training")
    page = Page(write_report(other, settings))
    assert "Filled documents" not in "".join(page.texts)


def test_an_empty_folder_is_no_run(run_folder, tmp_path_factory):
    with pytest.raises(InputError, match="to report on"):
        write_report(tmp_path_factory.mktemp("empty"), run_folder[1])
