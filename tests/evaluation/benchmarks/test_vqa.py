"""VQAv2 and VizWiz: the ten-answer accuracy on the fact sheet's numbers, and against a plain writing of the rule."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgic.errors import InputError
from mmgic.evaluation.benchmarks import vizwiz, vqav2
from mmgic.evaluation.scorers.vqa import normalized, vizwiz_accuracy, vqa_accuracy


@pytest.mark.parametrize(("k", "expected"), [(0, 0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1), (9, 1)])
def test_k_of_ten_people_agree(k, expected):
    assert vqa_accuracy("red", ["red"] * k + ["blue"] * (10 - k)) == pytest.approx(expected)


def test_unanimous_answers_are_compared_as_they_are():
    assert vqa_accuracy("Yes", ["yes"] * 10) == 0
    assert vqa_accuracy("Yes.", ["yes"] * 9 + ["no"]) == 1
    assert vizwiz_accuracy("Unanswerable", ["unanswerable"] * 2 + ["a"] * 8) == pytest.approx(0.6)
    assert vizwiz_accuracy("unanswerable", ["Unanswerable"] * 10) == 0  # references are never normalised


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("The two dogs.", "2 dogs"),
        ("none", "0"),
        ("dont", "don't"),
        ("couldntve", "couldntve"),
        ("couldnt've", "couldn't've"),
        ("somebody'd", "somebodyd"),
        ("1,000 men", "1000 men"),
        ("blue/green", "blue green"),
        ("blue / green", "blue green"),
        ("3.5", "3.5"),
        ("a.b.", "ab"),
        ("A", ""),
        ("x-ray", "x ray"),
    ],
)
def test_normalisation(answer, expected):
    assert normalized(answer) == expected


def plain_accuracy(answer, references):
    """The rule once more: dictionaries that differ, as the authors compare them."""
    known = [{"answer": text, "id": i} for i, text in enumerate(references)]
    total = 0
    for one in known:
        others = [other for other in known if other != one]
        total += min(1, sum(other["answer"] == answer for other in others) / 3)
    return total / len(known)


@settings(deadline=None)
@given(
    st.sampled_from(["yes", "no", "2", "red"]),
    st.lists(st.sampled_from(["yes", "no", "2", "red"]), min_size=10, max_size=10),
)
def test_accuracy_is_the_mean_over_the_other_nine(answer, references):
    assert vqa_accuracy(answer, references) == pytest.approx(plain_accuracy(answer, references))


@settings(deadline=None)
@given(st.text(alphabet="ab1,.;?! -'", max_size=12))
def test_marks_go_or_become_spaces(text):
    assert not set(normalized(text)) & set(";,?!-")
    assert normalized(text) == re.sub(" +", " ", normalized(text)).strip()


def files(folder, split="val2014", answers=True):
    questions = [{"question_id": 5, "image_id": 7, "question": "What color?"}]
    (folder / "q.json").write_text(json.dumps({"data_subtype": split, "questions": questions}))
    people = [{"answer": "red\n" if i else "blue", "answer_id": i} for i in range(10)]
    record = {"question_id": 5, "answer_type": "other", "question_type": "what", "answers": people}
    (folder / "a.json").write_text(json.dumps({"annotations": [record]}))
    return [str(folder / "q.json"), *([str(folder / "a.json")] if answers else [])]


def test_vqav2_reads_both_files_in_any_order_and_the_test_sets_alone(tmp_path):
    [item] = vqav2.read(files(tmp_path))[""]
    assert vqav2.read(files(tmp_path)[::-1])[""] == [item]
    assert (item.images, item.target[:2]) == (("COCO_val2014_000000000007.jpg",), ("blue", "red"))
    scored = vqav2.score([item], ["Red"])
    assert {name: score.printed for name, score in scored.scores.items()} == {
        "accuracy": 100, "other": 100, "type: what": 100,
    }  # fmt: skip
    [item] = vqav2.read(files(tmp_path, "test-dev2015", answers=False))[""]
    assert (item.images, item.target) == (("COCO_test2015_000000000007.jpg",), ())
    with pytest.raises(InputError, match="must be VQAv2's questions file"):
        vqav2.read(files(tmp_path)[1:])


def test_vizwiz_scores_by_answer_type(example_files):
    items = vizwiz.read(example_files("vizwiz"))[""]
    scores = {name: score.raw for name, score in vizwiz.score(items, ["Unanswerable"] * 12).scores.items()}
    assert scores["unanswerable"] == 1
    assert scores["other"] == pytest.approx(0.6)
    assert vizwiz.UNANSWERABLE in items[0].question
