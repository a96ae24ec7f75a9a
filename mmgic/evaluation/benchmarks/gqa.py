"""GQA: compositional questions, and how consistent and plausible their answers are (Hudson & Manning, 2019).

The files are those of testdev-balanced. The seven numbers need more: consistency the questions that the balanced ones
entail (`testdev_all_questions.json`) and answers to them, validity and plausibility a choices file.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmgic.errors import InputError
from mmgic.evaluation.benchmark import Benchmark, Item, Judgement, Score, Scored
from mmgic.evaluation.examples import Examples, write_images
from mmgic.evaluation.files import require
from mmgic.evaluation.predictions import RecordFile
from mmgic.evaluation.scorers.groups import accuracies, accuracy, values_of
from mmgic.sources.reading.json_files import read_json

IMAGES, IMAGE_NAME = "gqa/images", "{}.jpg"
COMMON = ("color", "material", "shape")  # what a question after something in common may be answered by


def read(files: Sequence[str]) -> dict[str, list[Item]]:
    """The questions of a questions file, with the valid and plausible answers of a choices file if there is one."""
    if len(files) not in (1, 2):
        raise InputError("GQA has a questions file, and for some splits a choices file; name these")
    documents = [read_json(file) for file in files]
    for document, file in zip(documents, files, strict=True):
        if not isinstance(document, dict) or not all(isinstance(value, dict) for value in document.values()):
            raise InputError(f"{file} is no GQA file; it needs an object of questions or of choices by their ids")
    asked = [i for i, document in enumerate(documents) if any("question" in value for value in document.values())]
    if len(asked) != 1:
        raise InputError(f"one of {', '.join(files)} must be GQA's questions file")
    [i] = asked
    choices = documents[1 - i] if len(files) == 2 else {}
    return {"": [_item(key, record, choices, files[i], n) for n, (key, record) in enumerate(documents[i].items(), 1)]}


def _item(key: str, record: Mapping[str, Any], choices: Mapping[str, Any], path: str, number: int) -> Item:
    types, groups = (
        {} if record.get(n) is None else require(record, n, dict, path, number) for n in ("types", "groups")
    )
    entailed = [] if record.get("entailed") is None else require(record, "entailed", list, path, number)
    image = require(record, "imageId", (int, str), path, number)
    answer = record.get("answer")
    return Item(
        key,
        "open_vqa",
        require(record, "question", str, path, number),
        images=(IMAGE_NAME.format(image),),
        target=(answer,) if isinstance(answer, str) else (),
        metadata={
            "balanced": record.get("isBalanced", True) is not False,
            "structural": types.get("structural"),
            "semantic": types.get("semantic"),
            "common": "Common" in str(types.get("detailed")),
            "group": groups.get("global"),
            "entailed": [str(other) for other in entailed if other != key],
            "choices": choices.get(key),
        },
    )


def score(items: Sequence[Item], answers: Sequence[str]) -> Scored:
    """Exact equality, capitals and blanks included, over the balanced questions."""
    verdicts = [
        Judgement(float((answer,) == item.target), answer.strip()) for item, answer in zip(items, answers, strict=True)
    ]
    balanced = [i for i, item in enumerate(items) if item.metadata["balanced"]]
    if not balanced:
        raise InputError("GQA is scored on its balanced questions, of which there is none here")
    own, said = [items[i] for i in balanced], [answers[i] for i in balanced]
    found = [verdicts[i] for i in balanced]
    scores: dict[str, Score] = {"accuracy": accuracy(values_of(found))}
    for name, kinds in (("binary", lambda kind: kind != "query"), ("open", lambda kind: kind == "query")):
        values = [v.value for item, v in zip(own, found, strict=True) if kinds(item.metadata["structural"])]
        scores |= {name: accuracy(values)} if values else {}
    scores |= _consistency(items, verdicts) | _sensible(own, said)
    if (distance := _distribution(own, said)) is not None:
        scores["distribution (lower is better)"] = Score(distance, "points")
    notes: tuple[str, ...] = ()
    if "consistency" not in scores:
        notes += ("consistency needs the entailed questions and answers to all of them",)
    if "validity" not in scores:
        notes += ("validity and plausibility need the choices file of the split",)
    scores |= accuracies(own, found, "structural", "structural: ") | accuracies(own, found, "semantic", "semantic: ")
    return Scored(scores, verdicts, notes)


def _consistency(items: Sequence[Item], verdicts: Sequence[Judgement]) -> dict[str, Score]:
    """How many of the questions that a right answer entails are right too; none if some of them were not asked."""
    value = {str(item.id): verdict.value for item, verdict in zip(items, verdicts, strict=True)}
    shares = []
    for item in items:
        entailed = item.metadata["entailed"]
        if item.metadata["balanced"] and entailed:
            if not all(other in value for other in entailed):
                return {}
            if value[str(item.id)]:
                shares.append(sum(value[other] for other in entailed) / len(entailed))
    return {"consistency": accuracy(shares)} if shares else {}


def _sensible(items: Sequence[Item], answers: Sequence[str]) -> dict[str, Score]:
    """If answers are of the right kind (validity), and seen of such things (plausibility)."""
    if any(item.metadata["choices"] is None for item in items):
        return {}
    scores = {}
    for name, key in (("validity", "valid"), ("plausibility", "plausible")):
        right = [
            answer in (COMMON if item.metadata["common"] else item.metadata["choices"].get(key, ()))
            for item, answer in zip(items, answers, strict=True)
        ]
        scores[name] = accuracy(right)
    return scores


def _distribution(items: Sequence[Item], answers: Sequence[str]) -> float | None:
    """The mean chi-squared distance of answers from right ones in their groups, by the groups' sizes, over 100."""
    right, said = defaultdict(Counter), defaultdict(Counter)  # type: ignore[var-annotated]
    for item, answer in zip(items, answers, strict=True):
        if (group := item.metadata["group"]) is not None:
            right[group][item.target[0]] += 1
            said[group][answer] += 1
    total = sum(own.total() for own in right.values())
    distance = sum(
        own.total() * sum((said[group][answer] - count) ** 2 / count for answer, count in own.items())
        for group, own in right.items()
    )
    return distance / total / 100 if total else None


def write_examples(examples: Examples, root: Path) -> None:
    """Writes testdev-balanced: every question of the pictures, those after objects entailing each other."""
    write_images(examples, root / IMAGES, IMAGE_NAME)
    questions = {}
    for picture in examples.pictures:
        ids = [f"{picture.id:08d}{i}" for i in range(len(picture.questions))]
        binary = [key for key, question in zip(ids, picture.questions, strict=True) if question.kind == "object"]
        for key, question in zip(ids, picture.questions, strict=True):
            is_binary = question.kind == "object"
            questions[key] = {
                "question": question.text,
                "answer": question.answer,
                "imageId": str(picture.id),
                "isBalanced": True,
                "types": {
                    "structural": "verify" if is_binary else "query",
                    "semantic": "obj" if is_binary else "attr",
                    "detailed": "exist" if is_binary else "directOf",
                },
                "groups": {"global": None if is_binary else question.kind, "local": question.text},
                "entailed": binary if is_binary else [key],
            }
    path = root / BENCHMARK.files[0]
    path.write_text(json.dumps(questions), encoding="utf-8")


BENCHMARK = Benchmark(
    title="GQA",
    rule="exact equality of strings, on balanced questions (GQA's eval.py)",
    headline=("accuracy", "binary", "open"),
    files=("gqa/testdev_balanced_questions.json",),
    images=IMAGES,
    about_files="the questions file, and the choices file if there is one",
    predictions=RecordFile(id="questionId", answer="prediction"),
    read=read,
    score=score,
    write_examples=write_examples,
    plain=True,
)
