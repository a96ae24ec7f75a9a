"""Questions about images, a row per image: GQA, OCR-VQA and A-OKVQA.

GQA: {question id: {"question", "imageId", "answer"}}. OCR-VQA: {id: {"imageURL", "questions": [], "answers": [],
"split"}}. A-OKVQA: [{"split", "image_id", "question_id", "question", "choices", "correct_choice_idx"}].
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from typing import Any

from mmgic.errors import InputError
from mmgic.schema import KEPT, Interleaved, reject
from mmgic.settings import SourceSettings
from mmgic.sources.captions.pairs import http_url
from mmgic.sources.instructions.conversations import Turn
from mmgic.sources.reading.files import ImageFinder, annotation_paths, collapse_spaces, is_safe_name, text_id
from mmgic.sources.reading.index import RecordIndex
from mmgic.sources.reading.json_files import stream_json, stream_json_members
from mmgic.sources.reading.records import source_records
from mmgic.sources.reading.shards import LocalImages
from mmgic.sources.rows import image_part, interleaved, row_image, text_part

_LETTERS = "ABCDEFGHIJ"
_OCRVQA_SPLITS = {"2": "validation_split", "3": "heldout_split"}
_AOKVQA_SPLITS = {"val": "validation_split", "test": "heldout_split"}


def question_row(
    source: str,
    record_id: str,
    task: str,
    turns: Sequence[Turn],
    *,
    path: str = "",
    url: str = "",
    times_seen: int = 0,
    reason: str = "",
) -> Interleaved:
    """The row of one image with its questions; `reason` sets it aside. Questions without an answer are counted."""
    answered = [(question, answer) for question, answer in turns if question and answer]
    unanswered = len(turns) - len(answered)
    verdict = KEPT
    if reason:
        verdict = reject(reason, "by the record's own split")
    elif not answered:
        verdict = reject("bad_record", f"none of its {len(turns)} questions has both a text and an answer")
    rounds = [
        ([*([] if i else [image_part(0)]), text_part(question)], [text_part(answer)])
        for i, (question, answer) in enumerate(answered)
    ]
    drops = ["question_unanswered"] * unanswered
    row = interleaved(source, record_id, times_seen, task, rounds=rounds, drops=drops, **verdict)
    return {**row, "images": [row_image(path, url)]}


def bad_questions(source: str, record_id: str, task: str, detail: str, times_seen: int = 0) -> Interleaved:
    """The row of an image whose records lack what the format demands."""
    return interleaved(source, record_id, times_seen, task, **reject("bad_record", detail))


def read_gqa(source: SourceSettings) -> Iterator[Interleaved]:
    """Yields a row per image, in the order of its first question; see `mmgic.sources.read_source`."""
    paths = annotation_paths(source)
    finder = ImageFinder(source)
    with RecordIndex() as index:
        questions = (item for path in paths for item in _gqa_questions(path))
        if not index.fill("question", questions):
            raise InputError(f"{paths[0]} is no JSON object of questions; set 'annotations' to GQA's questions file")
        index.build()
        for image_id in index.keys("question"):
            turns = [(question, answer) for question, answer in index.get("question", image_id)]
            if not is_safe_name(f"{image_id}.jpg") or not image_id:
                detail = f"{len(turns)} questions have '{image_id}' for an image"
                yield bad_questions(source.name, image_id, "open_vqa", detail)
            else:
                yield question_row(source.name, image_id, "open_vqa", turns, path=finder.path(f"{image_id}.jpg"))


def _gqa_questions(path: str) -> Iterator[tuple[str, Any]]:
    for _, record in stream_json_members(path):
        fields = record if isinstance(record, dict) else {}
        image_id = text_id(fields.get("imageId", fields.get("image_id")))
        yield image_id, [collapse_spaces(fields.get("question")), collapse_spaces(fields.get("answer"))]


def read_ocrvqa(source: SourceSettings) -> Iterator[Interleaved]:
    """Yields a row per book; those of the validation and test splits are set aside.

    The image is `<id>.jpg` (or .png, .gif) of the image folder, otherwise it is left to the download by its url.
    """
    with RecordIndex() as index:
        local = LocalImages(source, index)
        index.build()
        for _, (book, record) in source_records(source, _books):
            fields = record if isinstance(record, dict) else {}
            asked, answers = fields.get("questions"), fields.get("answers")
            seen = index.times_seen(book)
            if not isinstance(asked, list) or not isinstance(answers, list) or len(asked) != len(answers):
                detail = "its questions and answers are not two lists of one length"
                yield bad_questions(source.name, book, "open_vqa", detail, seen)
                continue
            turns = list(zip(map(collapse_spaces, asked), map(collapse_spaces, answers), strict=True))
            url = http_url(fields.get("imageURL"))
            image = local.find(*(f"{book}.{suffix}" for suffix in ("jpg", "png", "gif")), url=url)
            if not image and not url:
                detail = f"there is no image {book}.jpg, and no url"
                yield bad_questions(source.name, book, "open_vqa", detail, seen)
                continue
            reason = _OCRVQA_SPLITS.get(text_id(fields.get("split")), "")
            yield question_row(
                source.name, book, "open_vqa", turns, path=image, url=url, times_seen=seen, reason=reason
            )


def _books(path: str) -> Iterator[tuple[int, tuple[str, Any]]]:
    return enumerate(stream_json_members(path), start=1)


def read_aokvqa(source: SourceSettings) -> Iterator[Interleaved]:
    """Yields a row per image, in the order of its first question; the answer is the letter of a listed choice.

    With `choice_orders` of N, N rows: each lists the choices beginning with another one, as LLaVA-1.5's mixture does
    (66,160 records, 4 of each image).
    """
    paths = annotation_paths(source)
    finder = ImageFinder(source)
    with RecordIndex() as index:
        if not index.fill("question", (item for path in paths for item in _aokvqa_questions(path))):
            raise InputError(f"{paths[0]} is no JSON array of questions; set 'annotations' to A-OKVQA's file")
        index.build()
        for key in index.keys("question"):
            split, _, image_id = key.partition("/")
            questions = index.get("question", key)
            if not image_id.isdecimal():
                detail = f"{len(questions)} questions have '{image_id}' for an image number"
                yield bad_questions(source.name, key, "multiple_choice", detail)
                continue
            path = finder.path(posixpath.join(f"{split}2017", f"{int(image_id):012d}.jpg"))
            reason = _AOKVQA_SPLITS.get(split, "")
            for first in range(source.choice_orders):
                turns = [_choice(question, choices, correct, first) for question, choices, correct in questions]
                record = f"{key}/{first}" if first else key
                yield question_row(source.name, record, "multiple_choice", turns, path=path, reason=reason)


def _aokvqa_questions(path: str) -> Iterator[tuple[str, Any]]:
    for record in stream_json(path, "item"):
        fields = record if isinstance(record, dict) else {}
        split = fields.get("split")
        split = split if isinstance(split, str) and split in _AOKVQA_SPLITS else "train"
        choices = fields.get("choices")
        choices = [collapse_spaces(choice) for choice in choices] if isinstance(choices, list) else []
        correct = fields.get("correct_choice_idx")
        known = isinstance(correct, int) and 0 <= correct < len(choices) <= len(_LETTERS) and all(choices)
        question = collapse_spaces(fields.get("question"))
        yield f"{split}/{text_id(fields.get('image_id'))}", [question, choices, correct if known else None]


def _choice(question: str, choices: list[str], correct: int | None, first: int) -> Turn:
    """The question with its choices, that of number `first` listed first, and the letter of the correct one."""
    start = first % len(choices) if choices else 0
    listed = choices[start:] + choices[:start]
    lines = [question, *(f"{letter}. {choice}" for letter, choice in zip(_LETTERS, listed, strict=False))]
    answer = "" if correct is None else _LETTERS[(correct - start) % len(choices)]
    return "\n".join(lines) if question else "", answer
