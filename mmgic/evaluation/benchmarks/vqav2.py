"""VQAv2: open questions about COCO's images, each answered by ten people (Goyal et al., 2017)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmgic.errors import InputError
from mmgic.evaluation.benchmark import Benchmark, Item, Judgement, Scored
from mmgic.evaluation.examples import Examples, write_images
from mmgic.evaluation.files import listed, require
from mmgic.evaluation.predictions import RecordFile
from mmgic.evaluation.scorers.groups import accuracies, accuracy, values_of
from mmgic.evaluation.scorers.vqa import stripped, vqa_accuracy
from mmgic.sources.reading.json_files import read_json

IMAGES, IMAGE_NAME = "coco/val2014", "COCO_val2014_{:012d}.jpg"
KINDS = {"object": "yes/no", "color": "other"}  # the answer types of example questions


def read(files: Sequence[str]) -> dict[str, list[Item]]:
    """The questions of a questions file, with the answers of an annotations file if there is one."""
    if len(files) not in (1, 2):
        raise InputError("VQAv2 has a questions file and, except for its test sets, an annotations file; name these")
    documents = [read_json(file) for file in files]
    asked = [i for i, document in enumerate(documents) if isinstance(document, dict) and "questions" in document]
    if len(asked) != 1:
        raise InputError(f"one of {', '.join(files)} must be VQAv2's questions file, with a list of 'questions'")
    [i] = asked
    known = _answers(documents[1 - i], files[1 - i]) if len(files) == 2 else {}
    return {"": _items(documents[i], files[i], known)}


def _items(document: Mapping[str, Any], path: str, known: Mapping[int, Mapping[str, Any]]) -> list[Item]:
    # test-dev is a part of test2015, whose images it shares
    split = str(document.get("data_subtype") or "val2014").replace("test-dev", "test")
    items = []
    for number, record in listed(document["questions"], path):
        question_id, image_id = (require(record, name, int, path, number) for name in ("question_id", "image_id"))
        own = known.get(question_id, {})
        if known and not own:
            raise InputError(f"question {question_id} of {path} has no annotation; take the files of one split")
        items.append(
            Item(
                question_id,
                "open_vqa",
                require(record, "question", str, path, number),
                images=(f"COCO_{split}_{image_id:012d}.jpg",),
                target=own.get("target", ()),
                metadata=own.get("types", {}),
            )
        )
    if len({item.id for item in items}) < len(items):
        raise InputError(f"{path} has a question_id twice; take the authors' file")
    return items


def _answers(document: Any, path: str) -> dict[int, dict[str, Any]]:
    records = document.get("annotations") if isinstance(document, dict) else None
    found: dict[int, dict[str, Any]] = {}
    for number, record in listed(records, path):
        answers = listed(require(record, "answers", list, path, number), path)
        found[require(record, "question_id", int, path, number)] = {
            "target": tuple(stripped(require(answer, "answer", str, path, number)) for _, answer in answers),
            "types": {name: record.get(name) for name in ("question_type", "answer_type")},
        }
    return found


def score(items: Sequence[Item], answers: Sequence[str]) -> Scored:
    verdicts = [
        Judgement(vqa_accuracy(answer, item.target), stripped(answer))
        for item, answer in zip(items, answers, strict=True)
    ]
    scores = {"accuracy": accuracy(values_of(verdicts)), **accuracies(items, verdicts, "answer_type")}
    return Scored(scores | accuracies(items, verdicts, "question_type", "type: "), verdicts)


def write_examples(examples: Examples, root: Path) -> None:
    """Writes both files; a tenth of the people are of another mind."""
    write_images(examples, root / IMAGES, IMAGE_NAME)
    asked = [(picture, question) for picture in examples.pictures for question in picture.questions[:2]]
    questions = [
        {"image_id": picture.id, "question": question.text, "question_id": picture.id * 1000 + i}
        for i, (picture, question) in enumerate(asked)
    ]
    annotations = [
        {
            "question_id": record["question_id"],
            "image_id": picture.id,
            "question_type": question.text.partition(" ")[0].lower(),
            "answer_type": KINDS.get(question.kind, "other"),
            "multiple_choice_answer": question.answer,
            "answers": [
                {"answer": said, "answer_confidence": "yes", "answer_id": k}
                for k, said in enumerate([question.answer] * 9 + [question.wrong[0]], start=1)
            ],
        }
        for record, (picture, question) in zip(questions, asked, strict=True)
    ]
    contents = ({"data_subtype": "val2014", "questions": questions}, {"annotations": annotations})
    for file, content in zip(BENCHMARK.files, contents, strict=True):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(json.dumps(content), encoding="utf-8")


BENCHMARK = Benchmark(
    title="VQAv2",
    rule="VQA accuracy against ten answers, normalised unless all ten are the same (GT-Vision-Lab/VQA)",
    headline=("accuracy",),
    files=tuple(
        f"vqav2/v2_{name}.json" for name in ("OpenEnded_mscoco_val2014_questions", "mscoco_val2014_annotations")
    ),
    images=IMAGES,
    about_files="the questions file and the annotations file",
    predictions=RecordFile(id="question_id", answer="answer"),
    read=read,
    score=score,
    write_examples=write_examples,
    plain=True,
    server="the VQA challenge at eval.ai (challenge 830), as they were written",
)
