"""POPE: are objects of an image recognised, and no others imagined? (Yes / No questions; rules of AoiDragon/POPE)"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmgic.errors import InputError
from mmgic.evaluation.files import read_records, require, some


@dataclass(frozen=True)
class PopeScore:
    """Shares in [0, 1] with "yes" as the positive class; 0 where a share's denominator is 0."""

    accuracy: float
    precision: float
    recall: float
    f1: float
    yes_ratio: float  # share of predicted yes
    questions: int


def says_yes(answer: str) -> bool:
    """The official reading of a free answer: no if a word before the first full stop is No, no or not; else yes."""
    words = answer.split(".")[0].replace(",", "").split(" ")
    return not any(word in ("No", "not", "no") for word in words)


def score_answers(answers: Sequence[bool], labels: Sequence[bool]) -> PopeScore:
    """Scores predicted yes (True) and no (False) against the labels, question by question."""
    if len(answers) != len(labels) or not labels:
        raise ValueError("answers and labels must be equally many, and at least one")
    pairs = list(zip(answers, labels, strict=True))
    true_yes, predicted_yes, labelled_yes = pairs.count((True, True)), sum(answers), sum(labels)
    precision = true_yes / predicted_yes if predicted_yes else 0.0
    recall = true_yes / labelled_yes if labelled_yes else 0.0
    return PopeScore(
        accuracy=sum(answer == label for answer, label in pairs) / len(pairs),
        precision=precision,
        recall=recall,
        f1=2 * precision * recall / (precision + recall) if true_yes else 0.0,
        yes_ratio=predicted_yes / len(pairs),
        questions=len(pairs),
    )


def read_questions(path: str | Path) -> list[dict[str, Any]]:
    """The records {"question_id", "image", "text", "label"} of a POPE file (JSON lines or a JSON array), checked."""
    records = read_records(path)
    seen = set()
    for number, record in enumerate(records, start=1):
        question_id = require(record, "question_id", (int, str), path, number)
        require(record, "image", str, path, number)
        require(record, "text", str, path, number)
        if record.get("label") not in ("yes", "no"):
            raise InputError(f"'label' is {record.get('label')!r} in record {number} of {path}; it must be yes or no")
        if question_id in seen:
            raise InputError(f"{path} has question_id {question_id} twice; score one POPE file at a time")
        seen.add(question_id)
    return records


def score_pope_files(predictions: str | Path, annotations: str | Path) -> PopeScore:
    """Scores an answers file against a POPE file.

    `predictions`: JSON lines or a JSON array of {"question_id", "answer"} in any order, or POPE's own
    {"question", "answer"} in the order of `annotations`, checked by the question's text. Raises InputError for files in
    another form and where questions are missing, unknown, answered twice or in another order.
    """
    questions = read_questions(annotations)
    records = read_records(predictions)
    for number, record in enumerate(records, start=1):
        require(record, "answer", str, predictions, number)
    if any("question_id" in record for record in records):
        answers = _join(records, questions, predictions)
    else:
        answers = _align(records, questions, predictions)
    return score_answers([says_yes(answer) for answer in answers], [q["label"] == "yes" for q in questions])


def _join(records: list[dict[str, Any]], questions: list[dict[str, Any]], path: str | Path) -> list[str]:
    """The answers in the order of `questions`, joined on question_id."""
    ids = [require(record, "question_id", (int, str), path, n) for n, record in enumerate(records, start=1)]
    answers = {question_id: record["answer"] for question_id, record in zip(ids, records, strict=True)}
    if len(answers) < len(ids):
        twice = [i for i, count in Counter(ids).items() if count > 1]
        raise InputError(f"{path} answers {some(twice)} question ids more than once; keep one answer for each")
    wanted = [question["question_id"] for question in questions]
    missing, extra = [i for i in wanted if i not in answers], sorted(answers.keys() - set(wanted), key=str)
    if missing or extra:
        faults = [f"lacks {some(missing)} question ids"] if missing else []
        faults += [f"has {some(extra)} unknown question ids"] if extra else []
        raise InputError(f"{path} {' and '.join(faults)}; answer each question of the POPE file once")
    return [answers[i] for i in wanted]


def _align(records: list[dict[str, Any]], questions: list[dict[str, Any]], path: str | Path) -> list[str]:
    """The answers of records without question_id, which must follow the order of `questions`."""
    if len(records) != len(questions):
        raise InputError(f"{path} has {len(records)} answers for {len(questions)} questions; answer each one once")
    for number, (record, question) in enumerate(zip(records, questions, strict=True), start=1):
        if require(record, "question", str, path, number).strip() != question["text"].strip():
            raise InputError(
                f"answer {number} of {path} is for {record['question']!r}, the POPE file asks {question['text']!r}; "
                "keep the order of the POPE file or add question_id to the answers"
            )
    return [record["answer"] for record in records]
