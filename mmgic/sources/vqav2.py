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
from mmgic.schema import count_drops
from mmgic.settings import SourceSettings
from mmgic.sources.captions import first_caption, index_captions
from mmgic.sources.files import ImageFinder, collapse_spaces, source_file, stream_json, text_id
from mmgic.sources.index import RecordIndex
from mmgic.sources.rows import annotated_image, bad_record


def read_vqav2(source: SourceSettings) -> Iterator[dict[str, Any]]:
    """Yields a row per image that has questions, in the order of its first question; see `mmgic.sources.read_source`.

    The files give no image sizes: width and height are 0. A question without an answer is dropped and counted.
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
        index_captions(index, source)
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
        return bad_record(source.name, image_id, 0, f"{len(questions)} questions have '{image_id}' for an image number")
    asked: list[dict[str, str]] = []
    for question_id, question in questions:
        answer = next(iter(index.get("answer", question_id)), "")
        if question and answer:
            asked.append({"question": question, "answer": answer})
    drops = count_drops(["question_unanswered"] * (len(questions) - len(asked)))
    if not asked:
        detail = f"none of its {len(questions)} questions has both a text and an answer"
        return {**bad_record(source.name, image_id, 0, detail), "drops": drops}
    return annotated_image(
        source.name,
        image_id,
        0,
        image_path=finder.path(f"COCO_{split}_{int(image_id):012d}.jpg"),
        caption=first_caption(index, image_id),
        questions=asked,
        drops=drops,
    )
