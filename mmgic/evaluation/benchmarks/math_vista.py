"""MathVista (testmini): mathematics in pictures, answered by a choice, a number, a text or a list (Lu et al., 2024)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmgic.errors import InputError
from mmgic.evaluation.benchmark import Benchmark, Item, Judgement, Score, Scored
from mmgic.evaluation.examples import Examples, example_choices, write_images
from mmgic.evaluation.files import read_parquet, require
from mmgic.evaluation.predictions import RecordFile
from mmgic.evaluation.scorers.choices import LETTERS
from mmgic.evaluation.scorers.groups import accuracy, grouped, values_of
from mmgic.sources.reading.json_files import read_json

IMAGES, IMAGE_NAME = "math_vista", "{}.jpg"  # names in the file begin with images/
_SAID = re.compile(r'The answer is "(.*)"\.')
_BRACKETED = re.compile(r"\(([a-zA-Z])\)")


def read(files: Sequence[str]) -> dict[str, list[Item]]:
    """The problems of testmini.json, or of the Parquet form's files, which hold the pictures."""
    items = []
    for file in files:
        if file.lower().endswith(".parquet"):
            records = read_parquet(file)
        else:
            content = read_json(file)
            if not isinstance(content, dict) or not all(isinstance(value, dict) for value in content.values()):
                raise InputError(f"{file} is no testmini.json of MathVista, an object of problems by their pids")
            records = [{"pid": pid, **record} for pid, record in content.items()]
        items += [_item(record, file, number) for number, record in enumerate(records, start=1)]
    if len({item.id for item in items}) < len(items):
        raise InputError("the files of MathVista hold a problem twice; give those of one split once")
    return {"": items}


def _item(record: Mapping[str, Any], path: str, number: int) -> Item:
    pid, question = (require(record, name, str, path, number) for name in ("pid", "question"))
    choices = tuple(map(str, require(record, "choices", list, path, number))) if record.get("choices") else ()
    decoded = record.get("decoded_image")
    held = require(decoded, "bytes", bytes, path, number) if isinstance(decoded, dict) else b""
    unit = record.get("unit")
    kind = str(record.get("answer_type"))
    digits = int(require(record, "precision", (int, float), path, number)) if kind == "float" else 0
    answer = record.get("answer")
    return Item(
        pid,
        "multiple_choice" if choices else "open_vqa",
        question + (f" (Unit: {unit})" if unit else ""),
        choices=choices,
        images=(held or require(record, "image", str, path, number),),
        options=tuple(LETTERS[: len(choices)]),
        target=(str(answer),) if answer not in (None, "") else (),
        metadata={
            "answer type": kind,
            "precision": digits,
            **_tags(record.get("metadata")),
        },
    )


def _tags(metadata: Any) -> dict[str, str]:
    found = metadata if isinstance(metadata, dict) else {}
    return {name: str(found[name]) for name in ("task", "category") if found.get(name)}


def extracted(answer: str, item: Item) -> str:
    """The quick rule of the authors' extraction: 'The answer is "X".', or the whole of the answer."""
    text = answer.strip()
    said = _SAID.search(text)
    return said[1] if said and text not in item.choices else text


def normalized(text: str, item: Item) -> str:
    """An extracted answer in the form of right ones: an option's text, a whole number, digits, a text; "" for none."""
    kind = item.metadata["answer type"]
    if item.choices:
        return _option(text, item) if text else ""
    try:
        if kind == "integer":
            return str(int(float(text)))
        if kind == "float":
            return str(round(float(text), item.metadata["precision"]))
    except (ValueError, OverflowError):
        return ""
    return text


def _option(text: str, item: Item) -> str:
    """The option that a letter names; otherwise the one whose text is the nearest, the first of equals."""
    bracketed = _BRACKETED.findall(text)
    letter = bracketed[0].upper() if bracketed else text
    if letter in item.options:
        return item.choices[item.options.index(letter)]
    return min(item.choices, key=lambda choice: edits(letter, choice))


def edits(first: str, second: str) -> int:
    """Levenshtein's distance: the characters to insert, delete or replace."""
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, start=1):
        above, row = row, [i]
        for j, b in enumerate(second, start=1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (a != b)))
    return row[-1]


def score(items: Sequence[Item], answers: Sequence[str]) -> Scored:
    read_as = [normalized(extracted(answer, item), item) for item, answer in zip(items, answers, strict=True)]
    verdicts = [Judgement(float(said in item.target), said) for item, said in zip(items, read_as, strict=True)]
    scores = {"accuracy": accuracy(values_of(verdicts))}
    for name, values in grouped(items, verdicts, "answer type").items():
        scores |= {f"answers of type {name}": accuracy(values), f"{name}: right": Score(sum(values), "count")}
        scores[f"{name}: asked"] = Score(len(values), "count")
    return Scored(scores, verdicts)


def write_examples(examples: Examples, root: Path) -> None:
    """Writes testmini.json: a problem about each picture, the answer types in turn."""
    write_images(examples, root / IMAGES / "images", IMAGE_NAME)
    problems: dict[str, dict[str, Any]] = {}
    for i, picture in enumerate(examples.pictures):
        problems[str(i + 1)] = {
            "image": f"images/{IMAGE_NAME.format(picture.id)}",
            "unit": None,
            **_problem(picture, i),
        }
    (root / BENCHMARK.files[0]).write_text(json.dumps(problems), encoding="utf-8")


def _problem(picture: Any, i: int) -> dict[str, Any]:
    count = len(picture.objects)
    if i % 4 == 0:
        question = picture.questions[i % len(picture.questions)]
        own = {"choices": example_choices(question, i, 4), "answer": question.answer, "answer_type": "text"}
        return {"question": question.text, "question_type": "multi_choice", "precision": None, **own}
    kind, answer, precision = (
        ("integer", str(count), None), ("float", f"{count / 2:.1f}", 1.0), ("list", str([count, 1]), None),
    )[i % 4 - 1]  # fmt: skip
    question = f"How many kinds of things are shown{', halved' if kind == 'float' else ''}?"
    own = {"choices": None, "answer": answer, "answer_type": kind, "precision": precision}
    return {"question": question, "question_type": "free_form", **own}


BENCHMARK = Benchmark(
    title="MathVista",
    rule='the answer or "The answer is X", as its type says; a choice by its letter or nearest text (MathVista)',
    headline=("accuracy",),
    files=("math_vista/testmini.json",),
    images=IMAGES,
    about_files="testmini.json, or the Parquet files of testmini",
    predictions=RecordFile(id="pid", answer="response"),
    read=read,
    score=score,
    write_examples=write_examples,
)
