"""ScienceQA: school questions with a hint, some about an image; ScienceQA-IMG is those (Lu et al., 2022b)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmgic.errors import InputError
from mmgic.evaluation.benchmark import Benchmark, Item, Judgement, Scored
from mmgic.evaluation.examples import Examples, example_choices
from mmgic.evaluation.files import require
from mmgic.evaluation.predictions import RecordFile
from mmgic.evaluation.scorers.choices import LETTERS
from mmgic.evaluation.scorers.groups import accuracies, accuracy, values_of
from mmgic.sources.reading.json_files import read_json

SPLIT = "test"
IMAGES = f"scienceqa/{SPLIT}"
SAID = re.compile(r"The answer is ([A-Z])\.")


def read(files: Sequence[str]) -> dict[str, list[Item]]:
    """The test questions of problems.json; those without an image need not be answered."""
    if len(files) != 1:
        raise InputError(f"ScienceQA is read from problems.json alone, not from {len(files)} files")
    [path] = files
    problems = read_json(path)
    if not isinstance(problems, dict) or not all(isinstance(record, dict) for record in problems.values()):
        raise InputError(f"{path} is no problems.json of ScienceQA, an object of problems by their ids")
    test = [(number, key) for number, key in enumerate(problems, start=1) if problems[key].get("split") == SPLIT]
    if not test:
        raise InputError(f"{path} has no problem whose split is {SPLIT}")
    return {"": [_item(key, problems[key], path, number) for number, key in test]}


def _item(key: str, record: Mapping[str, Any], path: str, number: int) -> Item:
    choices = require(record, "choices", list, path, number)
    answer = require(record, "answer", int, path, number)
    if not 0 <= answer < len(choices) <= len(LETTERS):
        raise InputError(
            f"problem {key} of {path} has answer {answer} of {len(choices)} choices; take the authors' file"
        )
    image = record.get("image")
    return Item(
        key,
        "multiple_choice",
        require(record, "question", str, path, number),
        hint=str(record.get("hint") or ""),
        choices=tuple(map(str, choices)),
        images=(f"{key}/{image}",) if image else (),
        options=tuple(LETTERS[: len(choices)]),
        target=(LETTERS[answer],),
        metadata={"subject": record.get("subject"), "grade": record.get("grade"), "optional": not image},
    )


def letter(answer: str, options: Sequence[str]) -> str:
    """LLaVA's reading: a letter, a letter and ". " at the start, or one "The answer is X."; "" for anything else."""
    if answer in options:
        return answer
    if len(answer) >= 3 and answer[0] in options and answer[1:3] == ". ":
        return answer[0]
    said = SAID.findall(answer)
    return said[0] if len(said) == 1 and said[0] in options else ""


def score(items: Sequence[Item], answers: Sequence[str]) -> Scored:
    read_as = [letter(answer.strip(), item.options) for item, answer in zip(items, answers, strict=True)]
    verdicts = [Judgement(float(said in item.target), said) for item, said in zip(items, read_as, strict=True)]
    shown = [i for i, item in enumerate(items) if item.images]
    scores = {"IMG accuracy": accuracy([verdicts[i].value for i in shown])} if shown else {}
    if len(shown) < len(items):
        scores |= {"accuracy, text questions too": accuracy(values_of(verdicts))}
    own = [items[i] for i in shown], [verdicts[i] for i in shown]
    scores |= accuracies(*own, "subject", "IMG ") | accuracies(*own, "grade", "IMG ")
    return Scored(scores, verdicts)


def write_examples(examples: Examples, root: Path) -> None:
    """Writes problems.json: a question about each picture, and one that needs none."""
    problems: dict[str, dict[str, Any]] = {}
    for i, picture in enumerate(examples.pictures):
        question = picture.questions[i % len(picture.questions)]
        choices = example_choices(question, i, 2 + i % 3)
        folder = root / IMAGES / str(picture.id)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "image.jpg").write_bytes(picture.jpeg)
        problems[str(picture.id)] = {
            "question": question.text,
            "choices": choices,
            "answer": choices.index(question.answer),
            "hint": picture.captions[0] if i % 2 else "",
            "image": "image.jpg",
            "subject": "natural science",
            "grade": "grade2",
            "split": SPLIT,
        }
    text_only = {"question": "What is a dog?", "choices": ["an animal", "a plant"], "answer": 0, "hint": ""}
    problems["1"] = {**text_only, "image": None, "subject": "natural science", "grade": "grade1", "split": SPLIT}
    (root / BENCHMARK.files[0]).write_text(json.dumps(problems), encoding="utf-8")


BENCHMARK = Benchmark(
    title="ScienceQA-IMG",
    rule='the letter, "X. " at the start, or one "The answer is X."; anything else is wrong (LLaVA, ScienceQA)',
    headline=("IMG accuracy",),
    files=("scienceqa/problems.json",),
    images=IMAGES,
    about_files="problems.json",
    predictions=RecordFile(id="question_id", answer="text", question="prompt", lines=True),
    read=read,
    score=score,
    write_examples=write_examples,
)
