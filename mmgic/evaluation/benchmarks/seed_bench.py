"""SEED-Bench-IMG: nine dimensions of what an image shows (Li et al., 2023a)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmgic.errors import InputError
from mmgic.evaluation.benchmark import Benchmark, Item, Score, Scored
from mmgic.evaluation.examples import Examples, example_choices, write_images
from mmgic.evaluation.files import listed, require
from mmgic.evaluation.predictions import RecordFile
from mmgic.evaluation.scorers.choices import RULE, judged
from mmgic.evaluation.scorers.groups import accuracies, accuracy, values_of
from mmgic.sources.reading.json_files import read_json

LETTERS = "ABCD"
DIMENSIONS = ("Instance Attributes", "Scene Understanding", "Text Understanding")  # of example questions, in turn
IMAGES, IMAGE_NAME = "seed_bench/SEED-Bench-image", "{}"
TEXT = "text"  # begins the name of the dimension that Figures 5 and 8 leave out
ATTRIBUTES, LOCATION, ATTRIBUTE_QUESTIONS = "Instance Attributes", "Instance Location", 4649


def read(files: Sequence[str]) -> dict[str, list[Item]]:
    """The image questions of SEED-Bench.json; answers to its video questions are passed over."""
    if len(files) != 1:
        raise InputError(f"SEED-Bench is one file, not {len(files)}; name SEED-Bench.json")
    [path] = files
    document = read_json(path)
    if not isinstance(document, dict) or not isinstance(document.get("question_type"), dict):
        raise InputError(
            f"{path} is no SEED-Bench.json: it needs 'questions' and 'question_type', names with their ids"
        )
    names = {
        require(document["question_type"], name, int, path, number): name
        for number, name in enumerate(document["question_type"], start=1)
    }
    records = listed(document.get("questions"), path)
    videos = {str(record.get("question_id")) for _, record in records if record.get("data_type") == "video"}
    images = [(number, record) for number, record in records if record.get("data_type") != "video"]
    items = [_item(record, names, videos, path, number) for number, record in images]
    first: dict[str, Item] = {}
    for item in items:  # the published file repeats a question
        if first.setdefault(str(item.id), item).question != item.question:
            raise InputError(f"{path} has question_id {item.id} for two questions; take the authors' file")
    return {"": items}


def _item(record: Mapping[str, Any], names: Mapping[int, str], videos: set[str], path: str, number: int) -> Item:
    kind = require(record, "question_type_id", int, path, number)
    if kind not in names:
        raise InputError(f"record {number} of {path} has question_type_id {kind}, which 'question_type' does not name")
    answer = record.get("answer")
    return Item(
        require(record, "question_id", (int, str), path, number),
        "multiple_choice",
        require(record, "question", str, path, number),
        choices=tuple(str(record.get(f"choice_{letter.lower()}", "")) for letter in LETTERS),
        images=(require(record, "data_id", str, path, number),),
        options=tuple(LETTERS),
        target=(answer,) if answer in tuple(LETTERS) else (),
        metadata={"dimension": names[kind], "others": videos},
    )


def score(items: Sequence[Item], answers: Sequence[str]) -> Scored:
    """Means over questions, not over dimensions: of all nine, and of the eight without the one about text."""
    verdicts = judged(items, answers)
    dimensions = Counter(item.metadata["dimension"] for item in items)
    scores = {"accuracy": accuracy(values_of(verdicts))}
    without = [
        verdict.value
        for item, verdict in zip(items, verdicts, strict=True)
        if not item.metadata["dimension"].lower().startswith(TEXT)
    ]
    if without:
        scores["accuracy without text"] = accuracy(without)
    scores["dimensions"] = Score(len(dimensions), "count")
    swapped = dimensions[LOCATION] == ATTRIBUTE_QUESTIONS
    note = f"this file of before May 2024 has the names of {ATTRIBUTES} and {LOCATION} swapped"
    return Scored(scores | accuracies(items, verdicts, "dimension"), verdicts, (note,) if swapped else ())


def write_examples(examples: Examples, root: Path) -> None:
    """Writes SEED-Bench.json with a question of each kind, one of them twice, and a video that is not asked about."""
    write_images(examples, root / IMAGES, IMAGE_NAME)
    ids = {name: i for i, name in enumerate(DIMENSIONS, start=1)} | {"Action Recognition": 10}
    questions: list[dict[str, Any]] = []
    for i, picture in enumerate(examples.pictures):
        question = next(asked for asked in picture.questions if len(asked.wrong) > 2)
        choices = example_choices(question, i, len(LETTERS))
        texts = {f"choice_{letter.lower()}": text for letter, text in zip(LETTERS, choices, strict=True)}
        questions.append(
            {
                **texts,
                "answer": LETTERS[choices.index(question.answer)],
                "data_id": IMAGE_NAME.format(picture.id),
                "data_type": "image",
                "question": question.text,
                "question_id": str(picture.id),
                "question_type_id": 1 + i % len(DIMENSIONS),
            }
        )
    video = {**questions[0], "question_id": "v1", "data_type": "video", "data_id": "1.mp4", "question_type_id": 10}
    document = {"questions": [*questions, questions[0], video], "question_type": ids}
    (root / BENCHMARK.files[0]).write_text(json.dumps(document), encoding="utf-8")


BENCHMARK = Benchmark(
    title="SEED-Bench-IMG",
    rule=f"{RULE}; the mean over questions",
    headline=("accuracy", "accuracy without text"),
    files=("seed_bench/SEED-Bench.json",),
    images=IMAGES,
    about_files="SEED-Bench.json",
    predictions=RecordFile(id="question_id", answer="prediction", lines=True),
    read=read,
    score=score,
    write_examples=write_examples,
)
