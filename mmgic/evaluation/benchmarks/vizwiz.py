"""VizWiz-VQA: questions that blind people asked about their photos (Gurari et al., 2018)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from mmgic.errors import InputError
from mmgic.evaluation.benchmark import Benchmark, Item, Judgement, Scored
from mmgic.evaluation.examples import Examples, write_images
from mmgic.evaluation.files import listed, require
from mmgic.evaluation.predictions import RecordFile
from mmgic.evaluation.scorers.groups import accuracies, accuracy, values_of
from mmgic.evaluation.scorers.vqa import stripped, vizwiz_accuracy
from mmgic.sources.reading.json_files import read_json

IMAGES, IMAGE_NAME = "vizwiz/val", "VizWiz_val_{:08d}.jpg"
UNANSWERABLE = "When the provided information is insufficient, respond with 'Unanswerable'."


def read(files: Sequence[str]) -> dict[str, list[Item]]:
    """The questions of val.json, or of test.json, which has no answers. An image's name is its question's id."""
    if len(files) != 1:
        raise InputError(f"VizWiz has one file of questions, not {len(files)}; name one")
    [path] = files
    items = []
    for number, record in listed(read_json(path), path):
        image = require(record, "image", str, path, number)
        answers = listed(record.get("answers") or [], path)
        items.append(
            Item(
                image,
                "open_vqa",
                f"{require(record, 'question', str, path, number)}\n{UNANSWERABLE}",
                images=(image,),
                target=tuple(require(answer, "answer", str, path, number) for _, answer in answers),
                metadata={"answer_type": record.get("answer_type")},
            )
        )
    if len({item.id for item in items}) < len(items):
        raise InputError(f"{path} has an image twice; take the authors' file")
    return {"": items}


def score(items: Sequence[Item], answers: Sequence[str]) -> Scored:
    verdicts = [
        Judgement(vizwiz_accuracy(answer, item.target), stripped(answer))
        for item, answer in zip(items, answers, strict=True)
    ]
    return Scored({"accuracy": accuracy(values_of(verdicts)), **accuracies(items, verdicts, "answer_type")}, verdicts)


def write_examples(examples: Examples, root: Path) -> None:
    """Writes val.json with a question about each picture; every fourth one cannot be answered."""
    write_images(examples, root / IMAGES, IMAGE_NAME)
    records = []
    for i, picture in enumerate(examples.pictures):
        question = picture.questions[i % len(picture.questions)]
        answer = "unanswerable" if i % 4 == 3 else question.answer
        records.append(
            {
                "image": IMAGE_NAME.format(picture.id),
                "question": "What is written here?" if i % 4 == 3 else question.text,
                "answers": [{"answer_confidence": "yes", "answer": answer}] * 8
                + [{"answer_confidence": "maybe", "answer": "unanswerable"}] * 2,
                "answer_type": "unanswerable" if i % 4 == 3 else "yes/no" if answer in ("yes", "no") else "other",
                "answerable": int(i % 4 != 3),
            }
        )
    (root / BENCHMARK.files[0]).write_text(json.dumps(records), encoding="utf-8")


BENCHMARK = Benchmark(
    title="VizWiz",
    rule="VQA accuracy against ten answers as they are, the prediction normalised (VizWiz's fork of VQA)",
    headline=("accuracy",),
    files=("vizwiz/val.json",),
    images=IMAGES,
    about_files="val.json, or another split's file",
    predictions=RecordFile(id="image", answer="answer"),
    read=read,
    score=score,
    write_examples=write_examples,
    plain=True,
    server="the VizWiz challenge at eval.ai, as they were written",
)
