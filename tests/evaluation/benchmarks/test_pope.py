"""POPE: the official reading of answers, scores of files, and files that do not match."""

import json
import random

import pytest

from mmgic.errors import InputError
from mmgic.evaluation.benchmark import Score
from mmgic.evaluation.benchmarks.pope import read, readable, says_yes, score
from mmgic.evaluation.scoring import score_files

QUESTIONS = [
    {"question_id": i, "image": "a.jpg", "text": f"Is there a {thing} in the image?", "label": label}
    for i, (thing, label) in enumerate([("dog", "yes"), ("cat", "yes"), ("car", "no"), ("cup", "no")], start=1)
]


@pytest.mark.parametrize(
    ("answer", "yes", "clear"),
    [
        ("Yes", True, True),
        ("No", False, True),
        ("no, there is none", False, True),
        ("There is not. Yes", False, False),
        ("Yes. No", True, False),
        ("No, it is.", False, True),
        # what the official rule cannot read counts as yes
        ("NO", True, False),
        ("Nope", True, False),
        ("no!", True, False),
        ("There isn't a dog.", True, False),
        ("", True, False),
        ("maybe", True, False),
        ("No\nBecause", True, False),
    ],
)
def test_official_reading_and_what_it_cannot_read(answer, yes, clear):
    assert says_yes(answer) is yes
    assert readable(answer) is clear


def write(path, records, lines=True):
    path.write_text("\n".join(map(json.dumps, records)) if lines else json.dumps(records))
    return str(path)


def f1(predictions, annotations):
    return score_files("pope", [predictions], [annotations])[0].scores["F1"].raw


@pytest.mark.parametrize("lines", [True, False])
def test_answers_are_joined_on_question_id(tmp_path, lines):
    annotations = write(tmp_path / "pope.json", QUESTIONS, lines)
    answers = [{"question_id": q["question_id"], "answer": q["label"].title()} for q in QUESTIONS]
    random.Random(0).shuffle(answers)
    assert f1(write(tmp_path / "answers.json", answers, not lines), annotations) == 1


def test_official_answers_are_in_order(tmp_path):
    annotations = write(tmp_path / "pope.json", QUESTIONS)
    answers = [{"question": q["text"], "answer": "Yes"} for q in QUESTIONS]
    assert f1(write(tmp_path / "answers.json", answers), annotations) == pytest.approx(2 / 3)
    with pytest.raises(InputError, match=r"answer 1 in .* is for 'Is there a cup"):
        f1(write(tmp_path / "answers.json", answers[::-1]), annotations)
    with pytest.raises(InputError, match="has 3 answers for 4 questions"):
        f1(write(tmp_path / "answers.json", answers[:3]), annotations)


def test_answers_to_another_file_with_the_same_ids_are_refused(tmp_path):
    answers = [{"question_id": q["question_id"], "question": q["text"], "answer": "Yes"} for q in QUESTIONS]
    other = [{**q, "text": q["text"].replace("cup", "fork")} for q in QUESTIONS]
    with pytest.raises(InputError, match=r"the answer to question_id 4 in .* the benchmark asks 'Is there a fork"):
        f1(write(tmp_path / "answers.json", answers), write(tmp_path / "pope.json", other))


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([1, 2, 3], r"has none to 1 \(4\)"),
        ([1, 2, 3, 4, 9], r"answers to 1 \(9\) that the benchmark does not have"),
        ([1, 2, 3, 4, 4], r"more than one answer to 1 \(4\)"),
        ([1, 2, None, 4], "'question_id' has the wrong type"),
    ],
)
def test_other_question_ids_are_named(tmp_path, ids, message):
    answers = write(tmp_path / "answers.json", [{"question_id": i, "answer": "Yes"} for i in ids])
    with pytest.raises(InputError, match=message):
        f1(answers, write(tmp_path / "pope.json", QUESTIONS))


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
        read([write(tmp_path / "pope.json", [{**QUESTIONS[0], **change}, *QUESTIONS[1:]])])


def test_two_files_of_one_name_are_refused(tmp_path):
    path = write(tmp_path / "pope.json", QUESTIONS)
    with pytest.raises(InputError, match="are called pope"):
        read([path, path])


def test_answers_that_cannot_be_read_are_counted_with_how_they_are_taken(tmp_path):
    [items] = read([write(tmp_path / "pope.json", QUESTIONS)]).values()
    scored = score(items, ["maybe", "Yes", "There is not. Yes", "No"])
    assert [(verdict.read, verdict.value) for verdict in scored.verdicts] == [("", 1), ("yes", 1), ("", 1), ("no", 1)]
    assert scored.scores["unreadable, taken for yes"].raw == 1


@pytest.mark.parametrize("name", ["coco_pope_random.json", "gqa_pope_seem_random.json"])
def test_both_published_forms_are_read(shared, tmp_path, name):
    annotations = str(shared / "data" / "pope" / name)
    [questions] = read([annotations]).values()
    answers = [{"question_id": item.id, "answer": "Yes"} for item in questions]
    result = score_files("pope", [write(tmp_path / "answers.json", answers)], [annotations])[0]
    yes = sum(item.target == ("yes",) for item in questions) / len(questions)
    assert (result.parts[0].items, result.scores["recall"].raw) == (len(questions), 1)
    assert result.scores["precision"].raw == pytest.approx(yes)
    assert {**result.constants["Yes"], "unreadable": Score(0, "count")} == result.scores
    assert list(result.constants) == ["Yes", "No"]
