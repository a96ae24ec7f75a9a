"""A benchmark as a newcomer would add it: VQAv2's questions, scored by exact match. A test puts it among the others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from mmgic.evaluation.benchmark import Benchmark, Item, Judgement, Score, Scored
from mmgic.evaluation.examples import Examples, write_images
from mmgic.evaluation.predictions import RecordFile
from mmgic.sources.reading.json_files import read_json

IMAGES, IMAGE_NAME = "coco/val2014", "COCO_val2014_{:012d}.jpg"


def read(files: Sequence[str]) -> dict[str, list[Item]]:
    questions, annotations = (read_json(file) for file in files)
    answers = {record["question_id"]: record for record in annotations["annotations"]}
    return {
        "": [
            Item(
                question["question_id"],
                "open_vqa",
                question["question"],
                images=(IMAGE_NAME.format(question["image_id"]),),
                target=(answers[question["question_id"]]["multiple_choice_answer"],),
                metadata={"type": answers[question["question_id"]]["answer_type"]},
            )
            for question in questions["questions"]
        ]
    }


def score(items: Sequence[Item], answers: Sequence[str]) -> Scored:
    right = [answer.lower() in item.target for item, answer in zip(items, answers, strict=True)]
    colours = [hit for item, hit in zip(items, right, strict=True) if item.metadata["type"] == "color"]
    scores = {"accuracy": Score(sum(right) / len(right), "%"), "color": Score(sum(colours) / len(colours), "%")}
    return Scored(scores, [Judgement(hit, answer) for hit, answer in zip(right, answers, strict=True)])


def write_examples(examples: Examples, root: Path) -> None:
    write_images(examples, root / IMAGES, IMAGE_NAME)
    asked = [(picture, question) for picture in examples.pictures for question in picture.questions]
    questions = [{"question_id": i, "image_id": p.id, "question": q.text} for i, (p, q) in enumerate(asked)]
    answers = [
        {"question_id": i, "multiple_choice_answer": q.answer, "answer_type": q.kind} for i, (_, q) in enumerate(asked)
    ]
    for file, content in zip(BENCHMARK.files, ({"questions": questions}, {"annotations": answers}), strict=True):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(json.dumps(content))


BENCHMARK = Benchmark(
    title="Trial VQA",
    rule="exact match",
    headline=("accuracy",),
    files=("vqa/questions.json", "vqa/annotations.json"),
    images=IMAGES,
    about_files="the questions file, then the annotations file",
    predictions=RecordFile(id="question_id", answer="answer"),
    read=read,
    score=score,
    write_examples=write_examples,
)
