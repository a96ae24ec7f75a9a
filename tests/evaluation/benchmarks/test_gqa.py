"""GQA: the seven numbers, against a plain writing of their formulas."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgic.evaluation.benchmark import Item
from mmgic.evaluation.benchmarks.gqa import read, score
from tests.evaluation.benchmarks.conftest import raw


def item(key, answer, structural="query", group=None, entailed=(), choices=None, balanced=True, common=False):
    kinds = {"structural": structural, "semantic": "attr", "common": common, "group": group, "balanced": balanced}
    return Item(
        key, "open_vqa", "?", target=(answer,), metadata={**kinds, "entailed": list(entailed), "choices": choices}
    )


def test_accuracy_is_exact_over_balanced_questions():
    items = [item("1", "yes", "verify"), item("2", "no", "verify"), item("3", "red"), item("4", "a", balanced=False)]
    found = raw(score(items, ["yes", "No", "red", "a"]))
    assert (found["accuracy"], found["binary"], found["open"]) == (pytest.approx(2 / 3), 0.5, 1)


def test_consistency_is_over_what_right_answers_entail():
    items = [
        item("1", "a", entailed=["2", "3"]),
        item("2", "b", entailed=["3"]),
        item("3", "c"),
        item("4", "d", entailed=["1"]),
    ]
    scored = score(items, ["a", "b", "x", "x"])
    assert raw(scored)["consistency"] == pytest.approx((0.5 + 0) / 2)
    alone = score(items[:1], ["a"])
    assert "consistency" not in alone.scores
    assert any("entailed" in note for note in alone.notes)


def test_validity_and_plausibility_need_the_choices():
    choices = {"valid": ["red", "blue"], "plausible": ["red"]}
    items = [item("1", "red", choices=choices), item("2", "color", choices={}, common=True)]
    found = raw(score(items, ["blue", "shape"]))
    assert (found["validity"], found["plausibility"]) == (1, 0.5)
    assert "validity" not in score([item("1", "red")], ["red"]).scores


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("xy"), st.sampled_from("abc"), st.sampled_from("abcd")), min_size=1, max_size=12)
)
def test_distribution_is_the_weighted_chi_squared_distance(rows):
    found = raw(
        score([item(str(i), gold, group=group) for i, (group, gold, _) in enumerate(rows)], [r[2] for r in rows])
    )
    total = 0.0
    for group in "xy":
        gold, said = (Counter(row[k] for row in rows if row[0] == group) for k in (1, 2))
        total += sum((said[a] - n) ** 2 / n for a, n in gold.items()) * sum(gold.values())
    assert found["distribution (lower is better)"] == pytest.approx(total / len(rows) / 100)


def test_the_example_files_are_read(example_files):
    items = read(example_files("gqa"))[""]
    assert raw(score(items, [item.target[0] for item in items]))["consistency"] == 1
