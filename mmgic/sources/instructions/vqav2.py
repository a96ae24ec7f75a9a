"""VQAv2 and OK-VQA: a questions JSON and an annotations JSON with the answers.

{"questions": [{"question_id", "image_id", "question"}], "data_subtype": "train2014"} and {"annotations":
[{"question_id", "multiple_choice_answer", "answers": [{"answer"}, ...]}]}; OK-VQA has the ten answers alone, of which
the most frequent one is taken. The image is `COCO_{data_subtype}_{image_id:012d}.jpg`.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from mmgic.errors import InputError
from mmgic.schema import Interleaved
from mmgic.settings import SourceSettings
from mmgic.sources.formats import FORMATS
from mmgic.sources.instructions.questions import bad_questions, question_row
from mmgic.sources.reading.files import ImageFinder, collapse_spaces, source_file, text_id
from mmgic.sources.reading.index import RecordIndex
from mmgic.sources.reading.json_files import stream_json


def read_vqav2(source: SourceSettings) -> Iterator[Interleaved]:
    """Yields a row per image that has questions, in the order of its first question; see `mmgic.sources.read_source`.

    A question without an answer is dropped and counted.
    """
    names = FORMATS[source.format].files
    questions = source_file(source, source.annotations or names[0], "annotations")
    answers = source_file(source, source.answers or names[1], "answers")
    split = _split(questions)
    finder = ImageFinder(source)
    with RecordIndex() as index:
        if not index.fill("question", _questions(questions)):
            raise InputError(f"{questions} has no 'questions' list; set 'annotations' to VQAv2's questions file")
        if not index.fill("answer", _answers(answers)):
            raise InputError(f"{answers} has no 'annotations' list; set 'answers' to VQAv2's annotations file")
        index.build()
        for image_id in index.keys("question"):
            asked = index.get("question", image_id)
            if not image_id.isdecimal():
                detail = f"{len(asked)} questions have '{image_id}' for an image number"
                yield bad_questions(source.name, image_id, "open_vqa", detail)
                continue
            turns = [(question, next(iter(index.get("answer", question_id)), "")) for question_id, question in asked]
            image = finder.path(f"COCO_{split}_{int(image_id):012d}.jpg")
            yield question_row(source.name, image_id, "open_vqa", turns, path=image)


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
        chosen = collapse_spaces(answer.get("multiple_choice_answer"))
        if not chosen and "multiple_choice_answer" not in answer:
            chosen = _most_frequent(answer.get("answers"))
        yield text_id(answer.get("question_id")), chosen


def _most_frequent(answers: Any) -> str:
    """The most frequent of ten people's answers, of equals the one given first; OK-VQA's unstemmed form."""
    given = [answer for answer in (answers if isinstance(answers, list) else []) if isinstance(answer, dict)]
    texts = [collapse_spaces(answer.get("raw_answer") or answer.get("answer")) for answer in given]
    return next((text for text, _ in Counter(filter(None, texts)).most_common(1)), "")
