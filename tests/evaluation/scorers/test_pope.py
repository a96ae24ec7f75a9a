"""POPE: the official reading of answers, hand-worked scores, and files that do not match."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgic.errors import InputError
from mmgic.evaluation.scorers.pope import read_questions, says_yes, score_answers, score_pope_files

QUESTIONS = [
    {"question_id": i, "image": "a.jpg", "text": f"Is there a {thing} in the image?", "label": label}
    for i, (thing, label) in enumerate([("dog", "yes"), ("cat", "yes"), ("car", "no"), ("cup", "no")], start=1)
]


@pytest.mark.parametrize(
    ("answer", "yes"),
    [
        ("Yes", True),
        ("No", False),
        ("no, there is none", False),
        ("There is not. Yes", False),
        ("Yes. No", True),
        ("No, it is.", False),
        # what the official rule cannot read counts as yes
        ("NO", True),
        ("Nope", True),
        ("no!", True),
        ("There isn't a dog.", True),
        ("", True),
        ("No\nBecause", True),
    ],
)
def test_official_reading(answer, yes):
    assert says_yes(answer) is yes


def test_worked_example():
    score = score_answers([True, False, True, False], [True, True, False, False])
    assert (score.accuracy, score.precision, score.recall, score.f1, score.yes_ratio) == (0.5,) * 5


def test_constant_answers():
    labels = [True, True, False, False]
    assert score_answers([True] * 4, labels).f1 == pytest.approx(2 / 3)
    never = score_answers([False] * 4, labels)
    assert (never.accuracy, never.precision, never.recall, never.f1, never.yes_ratio) == (0.5, 0, 0, 0, 0)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1))
def test_shares_of_any_answers(pairs):
    answers, labels = zip(*pairs, strict=True)
    score, swapped = score_answers(answers, labels), score_answers(labels, answers)
    assert (score.precision, score.accuracy) == (swapped.recall, swapped.accuracy)
    hits, misses = pairs.count((True, True)), pairs.count((True, False)) + pairs.count((False, True))
    assert score.f1 == pytest.approx(2 * hits / (2 * hits + misses) if hits else 0)
    assert score.f1 == pytest.approx(swapped.f1)


def write(path, records, lines=True):
    path.write_text("\n".join(map(json.dumps, records)) if lines else json.dumps(records))
    return path


@pytest.mark.parametrize("lines", [True, False])
def test_answers_are_joined_on_question_id(tmp_path, lines):
    annotations = write(tmp_path / "pope.json", QUESTIONS, lines)
    answers = [{"question_id": q["question_id"], "answer": q["label"].title()} for q in QUESTIONS]
    random.Random(0).shuffle(answers)
    assert score_pope_files(write(tmp_path / "answers.json", answers, not lines), annotations).f1 == 1


def test_official_answers_are_in_order(tmp_path):
    annotations = write(tmp_path / "pope.json", QUESTIONS)
    answers = [{"question": q["text"], "answer": "Yes"} for q in QUESTIONS]
    assert score_pope_files(write(tmp_path / "answers.json", answers), annotations).f1 == pytest.approx(2 / 3)
    with pytest.raises(InputError, match=r"answer 1 of .* is for 'Is there a cup"):
        score_pope_files(write(tmp_path / "answers.json", answers[::-1]), annotations)
    with pytest.raises(InputError, match="has 3 answers for 4 questions"):
        score_pope_files(write(tmp_path / "answers.json", answers[:3]), annotations)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([1, 2, 3], r"lacks 1 \(4\) question ids"),
        ([1, 2, 3, 4, 9], r"has 1 \(9\) unknown question ids"),
        ([1, 2, 3, 4, 4], r"answers 1 \(4\) question ids more than once"),
        ([1, 2, None, 4], "'question_id' has the wrong type"),
    ],
)
def test_other_question_ids_are_named(tmp_path, ids, message):
    answers = write(tmp_path / "answers.json", [{"question_id": i, "answer": "Yes"} for i in ids])
    with pytest.raises(InputError, match=message):
        score_pope_files(answers, write(tmp_path / "pope.json", QUESTIONS))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": "Yes"}, "must be yes or no"),
        ({"question_id": 2}, "question_id 2 twice"),
        ({"text": None}, "'text' has the wrong type"),
    ],
)
def test_faulty_pope_files_are_named(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        read_questions(write(tmp_path / "pope.json", [{**QUESTIONS[0], **change}, *QUESTIONS[1:]]))


@pytest.mark.parametrize("name", ["coco_pope_random.json", "gqa_pope_seem_random.json"])
def test_both_published_forms_are_read(shared, tmp_path, name):
    annotations = shared / "data" / "pope" / name
    questions = read_questions(annotations)
    answers = [{"question_id": q["question_id"], "answer": "Yes"} for q in questions]
    score = score_pope_files(write(tmp_path / "answers.json", answers), annotations)
    yes = sum(q["label"] == "yes" for q in questions) / len(questions)
    assert (score.questions, score.recall, score.precision) == (len(questions), 1, pytest.approx(yes))
