"""Q-Bench (A1, LLVisionQA): questions about the quality of images (Wu et al., 2024)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmgic.errors import InputError
from mmgic.evaluation.benchmark import Benchmark, Item, Scored
from mmgic.evaluation.examples import Examples, example_choices, write_images
from mmgic.evaluation.files import listed, read_parquet, require
from mmgic.evaluation.predictions import RecordFile
from mmgic.evaluation.scorers.choices import LETTERS, RULE, judged
from mmgic.evaluation.scorers.groups import accuracies, accuracy, values_of
from mmgic.sources.reading.json_files import read_json

IMAGES, IMAGE_NAME = "q_bench/images", "{}.jpg"
KINDS = ("yes-or-no", "what", "how")
CONCERNS = ("distortion", "other", "in-context distortion", "in-context other")
ABSENT = ("N/A", "")


def read(files: Sequence[str]) -> dict[str, list[Item]]:
    """The questions of llvisionqa_dev.json or of the Parquet form's files; the test set has no answers."""
    items = [item for file in files for item in _file(file)]
    if len({item.id for item in items}) < len(items):
        raise InputError(f"{', '.join(files)} hold a question twice; take the authors' files of one split")
    return {"": items}


def _file(path: str) -> list[Item]:
    if path.lower().endswith(".parquet"):
        return [_row(record, path, number) for number, record in enumerate(read_parquet(path), start=1)]
    return [_record(record, path, number) for number, record in listed(read_json(path), path)]


def _record(record: Mapping[str, Any], path: str, number: int) -> Item:
    """An entry of the authors' JSON, whose image is its id: there is one question about each."""
    image = require(record, "img_path", str, path, number)
    choices = [str(choice) for choice in require(record, "candidates", list, path, number)]
    answer = record.get("correct_ans")
    if answer is not None and answer not in choices:
        raise InputError(
            f"'correct_ans' of record {number} of {path} is none of its candidates; take the authors' file"
        )
    right = LETTERS[choices.index(answer)] if answer is not None else ""
    kind = {"type": _name(KINDS, record.get("type")), "concern": _name(CONCERNS, record.get("concern"))}
    return _item(image, image, require(record, "question", str, path, number), choices, right, kind)


def _row(record: Mapping[str, Any], path: str, number: int) -> Item:
    """A row of the Parquet form, which has places for four options."""
    options = {letter: str(record.get(f"option{i}") or "") for i, letter in enumerate(LETTERS[:4])}
    choices = [text for text in options.values() if text not in ABSENT]
    kinds = {"type": _name(KINDS, record.get("question_type"))}
    kinds["concern"] = _name(CONCERNS, record.get("question_concern"))
    picture = require(record, "image", dict, path, number).get("bytes")
    if not isinstance(picture, bytes):
        raise InputError(f"record {number} of {path} holds no picture; take the authors' file")
    question = require(record, "question", str, path, number)
    return _item(record.get("id"), picture, question, choices, str(record.get("correct_choice") or ""), kinds)


def _name(names: Sequence[str], number: Any) -> str | None:
    try:
        return names[int(number)]
    except (TypeError, ValueError, IndexError):
        return None


def _item(
    key: Any, image: str | bytes, question: str, choices: Sequence[str], right: str, kinds: Mapping[str, Any]
) -> Item:
    options = tuple(LETTERS[: len(choices)])
    target = (right,) if right in options else ()
    return Item(
        key, "multiple_choice", question, "", tuple(choices), images=(image,), options=options, target=target,
        metadata=kinds,
    )  # fmt: skip


def score(items: Sequence[Item], answers: Sequence[str]) -> Scored:
    verdicts = judged(items, answers)
    scores = {"accuracy": accuracy(values_of(verdicts)), **accuracies(items, verdicts, "type")}
    return Scored(scores | accuracies(items, verdicts, "concern", "concern: "), verdicts)


def write_examples(examples: Examples, root: Path) -> None:
    """Writes llvisionqa_dev.json with a question about each picture, of two options to four."""
    write_images(examples, root / IMAGES, IMAGE_NAME)
    records = []
    for i, picture in enumerate(examples.pictures):
        question = picture.questions[i % len(picture.questions)]
        records.append(
            {
                "img_path": IMAGE_NAME.format(picture.id),
                "question": question.text,
                "candidates": example_choices(question, i, 2 + i % 3),
                "correct_ans": question.answer,
                "type": 0 if question.kind == "object" else 1,
                "concern": i % len(CONCERNS),
            }
        )
    (root / BENCHMARK.files[0]).write_text(json.dumps(records), encoding="utf-8")


BENCHMARK = Benchmark(
    title="Q-Bench",
    rule=RULE,
    headline=("accuracy",),
    files=("q_bench/llvisionqa_dev.json",),
    images=IMAGES,
    about_files="llvisionqa_dev.json, or the Parquet files of Q-Bench-HF",
    predictions=RecordFile(id="img_path", answer="response", question="question", lines=True),
    read=read,
    score=score,
    write_examples=write_examples,
    server="the Q-Bench authors by mail, as they were written",
)
