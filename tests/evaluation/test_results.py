"""Scores of parts together, and what is written and read back."""

import json

import pytest

from mmgic.evaluation.benchmark import Score
from mmgic.evaluation.results import (
    ITEMS_FILE,
    AskedItem,
    BenchmarkResult,
    PartResult,
    Results,
    read_items,
    read_results,
    summarize_parts,
    write_items,
    write_results,
)


def result(headline, scores):
    part = PartResult("test", "p.json", 2, 1, scores, {"A": scores})
    return BenchmarkResult("some", "Some", headline, ("a", "b"), (part,), scores, {"A": scores})


def test_shares_are_averaged_and_counts_summed():
    parts = [{"F1": Score(0.5, "%"), "n": Score(3, "count")}, {"F1": Score(1, "%"), "n": Score(4, "count")}]
    assert summarize_parts(parts) == {"F1": Score(0.75, "%"), "n": Score(7, "count")}
    # a part that has no right answers, as where the authors keep them, has no scores
    assert summarize_parts([*parts, {}]) == summarize_parts(parts)
    assert summarize_parts([{}]) == {}


def test_scores_are_printed_on_their_own_scale():
    for score, printed in (
        (Score(3.42138, "x100"), "342.1"),
        (Score(0.859469, "%"), "85.9"),
        (Score(1531.3, "points"), "1531.3"),
        (Score(1234, "count"), "1,234"),
    ):
        assert f"{score:.1f}" == printed


def test_results_and_items_are_read_as_they_were_written(tmp_path):
    assert read_results(tmp_path) is None
    assert read_items(tmp_path) == []
    scores = {"total": Score(1531.3, "points"), "F1": Score(0.5, "%"), "unreadable": Score(2, "count")}
    results = Results("m", None, "vllm", "mmgic", "toy", 0, "t", (result(("total", "F1", "unreadable"), scores),))
    write_results(tmp_path, results)
    assert read_results(tmp_path) == results
    written = json.loads((tmp_path / "scores.json").read_text())["benchmarks"][0]["parts"][0]["scores"]["F1"]
    assert written == {"printed": 50, "raw": 0.5, "unit": "%"}
    items = [AskedItem("some", "test", "7\u2028", "?\n", ["a.jpg"], ["\ud800"], "", {"A": -1.5})] * 2
    write_items(tmp_path / ITEMS_FILE, items)
    assert read_items(tmp_path) == items


def test_headlines_say_their_unit_and_come_first_to_last():
    scores = {"F1": Score(0.5, "%"), "total": Score(1531.3, "points"), "unreadable": Score(2, "count")}
    found = result(("total", "F1", "unreadable", "absent"), scores)
    assert list(found.headlines()) == ["Some total", "Some F1 (%)", "Some unreadable"]
    assert found.constant_headlines()["Some F1 (%)"] == {"A": Score(0.5, "%")}
    assert found.constant_headlines()["Some unreadable"] == {}  # how often a constant is unreadable says nothing
    results = Results("m", None, "vllm", "mmgic", "toy", 0, "t", (found, result(("F1",), {})))
    assert results.numbers() == {"Some total": 1531.3}


def test_the_lowest_of_several_parts_stands_beside_their_mean():
    parts = [
        PartResult(name, "p", 2, 1, {"F1": Score(f1, "%"), "n": Score(1, "count")}, {"Yes": {"F1": Score(yes, "%")}})
        for name, f1, yes in (("a", 0.7, 0.6), ("b", 0.5, 0.8))
    ]
    scores, constants = summarize_parts([p.scores for p in parts]), summarize_parts([p.constants["Yes"] for p in parts])
    found = BenchmarkResult("some", "Some", ("F1", "n"), ("a", "b"), tuple(parts), scores, {"Yes": constants})
    assert {name: score.printed for name, score in found.headlines().items()} == {
        "Some F1 (%)": pytest.approx(60),
        "Some F1 (%), lowest of 2 parts": 50,
        "Some n": 2,
    }
    assert found.constant_headlines()["Some F1 (%), lowest of 2 parts"] == {"Yes": Score(0.6, "%")}
