"""VQAv2: a questions JSON and an annotations JSON with the answers.

{"questions": [{"question_id", "image_id", "question"}], "data_subtype": "train2014"} and {"annotations":
[{"question_id", "multiple_choice_answer"}]}; the image is `COCO_{data_subtype}_{image_id:012d}.jpg`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from typing import Any

from mmgic.errors import InputError
from mmgic.schema import reject
from mmgic.settings import SourceSettings
from mmgic.sources.files import ImageFinder, collapse_spaces, source_file, stream_json, text_id
from mmgic.sources.index import RecordIndex
from mmgic.sources.rows import image_part, interleaved, text_part


def read_vqav2(source: SourceSettings) -> Iterator[dict[str, Any]]:
    """Yields a row per image that has questions, in the order of its first question; see `mmgic.sources.read_source`.

    A question without an answer is dropped and counted.
    """
    questions = source_file(source, source.annotations, "annotations")
    answers = source_file(source, source.answers, "answers")
    split = _split(questions)
    finder = ImageFinder(source)
    with RecordIndex() as index:
        if not index.fill("question", _questions(questions)):
            raise InputError(f"{questions} has no 'questions' list; set 'annotations' to VQAv2's questions file")
        if not index.fill("answer", _answers(answers)):
            raise InputError(f"{answers} has no 'annotations' list; set 'answers' to VQAv2's annotations file")
        index.build()
        for image_id in index.keys("question"):
            yield _image_row(image_id, split, source, finder, index)


def _split(path: str) -> str:
    """The part of the image names between COCO_ and the number, such as "train2014"."""
    named = re.search(r"(train|val|test)20\d\d", posixpath.basename(path))
    split = next(stream_json(path, "data_subtype"), named[0] if named else None)
    if not isinstance(split, str) or not re.fullmatch(r"[\w-]+", split):
        raise InputError(f"{path} does not say its split; name the file after it, such as questions_train2014.json")
    return split


def _questions(path: str) -> Iterator[tuple[str, Any]]:
    for record in stream_json(path, "questions.item"):
        question = record if isinstance(record, dict) else {}
        fields = [text_id(question.get("question_id")), collapse_spaces(question.get("question"))]
        yield text_id(question.get("image_id")), fields


def _answers(path: str) -> Iterator[tuple[str, Any]]:
    for record in stream_json(path, "annotations.item"):
        answer = record if isinstance(record, dict) else {}
        yield text_id(answer.get("question_id")), collapse_spaces(answer.get("multiple_choice_answer"))


def _image_row(
    image_id: str, split: str, source: SourceSettings, finder: ImageFinder, index: RecordIndex
) -> dict[str, Any]:
    questions = index.get("question", image_id)
    if not image_id.isdecimal():
        detail = f"{len(questions)} questions have '{image_id}' for an image number"
        return interleaved(source.name, image_id, 0, "open_vqa", **reject("bad_record", detail))
    asked = [(q, a) for question_id, q in questions if (a := next(iter(index.get("answer", question_id)), "")) and q]
    rounds = [([*([] if i else [image_part(0)]), text_part(q)], [text_part(a)]) for i, (q, a) in enumerate(asked)]
    return interleaved(
        source.name,
        image_id,
        0,
        "open_vqa",
        [finder.path(f"COCO_{split}_{int(image_id):012d}.jpg")],
        rounds,
        drops=["question_unanswered"] * (len(questions) - len(asked)),
        **({} if asked else reject("bad_record", f"none of its {len(questions)} questions has a text and an answer")),
    )
