"""MMMU (val): college questions of thirty subjects, with one image or several (Yue et al., 2024)."""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmgic.errors import InputError
from mmgic.evaluation.benchmark import Benchmark, Item, Judgement, Scored
from mmgic.evaluation.examples import Examples, example_choices
from mmgic.evaluation.files import read_parquet, require
from mmgic.evaluation.predictions import RecordFile
from mmgic.evaluation.scorers.choices import LETTERS
from mmgic.evaluation.scorers.groups import accuracies, accuracy, values_of

DISCIPLINES: Mapping[str, tuple[str, ...]] = {
    "Art and Design": ("Art", "Art_Theory", "Design", "Music"),
    "Business": ("Accounting", "Economics", "Finance", "Manage", "Marketing"),
    "Science": ("Biology", "Chemistry", "Geography", "Math", "Physics"),
    "Health and Medicine": (
        "Basic_Medical_Science", "Clinical_Medicine", "Diagnostics_and_Laboratory_Medicine", "Pharmacy",
        "Public_Health",
    ),
    "Humanities and Social Science": ("History", "Literature", "Psychology", "Sociology"),
    "Tech and Engineering": (
        "Agriculture", "Architecture_and_Engineering", "Computer_Science", "Electronics", "Energy_and_Power",
        "Materials", "Mechanical_Engineering",
    ),
}  # fmt: skip
MAX_IMAGES = 7
SEED = 42  # of the guesses in the authors' scripts
_ENDS = (",", ".", "!", "?", ";", ":", "'")
_KEYS = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
_NUMBERS = tuple(
    re.compile(pattern)
    for pattern in (
        r"-?\b\d{1,3}(?:,\d{3})+\b",
        r"-?\d+(?:\.\d+)?[eE][+-]?\d+",
        r"-?(?:\d+\.\d+|\.\d+|\d+\b)(?![eE][+-]?\d+)(?![,\d])",
    )
)


def read(files: Sequence[str]) -> dict[str, list[Item]]:
    """The questions of the subjects' Parquet files, in the files' order."""
    items = [_item(record, file, number) for file in files for number, record in enumerate(read_parquet(file), start=1)]
    if len({item.id for item in items}) < len(items):
        raise InputError("the files of MMMU hold a question twice; give each subject's file of one split once")
    return {"": items}


def _item(record: Mapping[str, Any], path: str, number: int) -> Item:
    key, question = (require(record, name, str, path, number) for name in ("id", "question"))
    subject = key.removeprefix("validation_").removeprefix("dev_").removeprefix("test_").rpartition("_")[0]
    choices = tuple(map(str, _listed(record.get("options"), path, number)))
    shown = [record.get(f"image_{i}") for i in range(1, MAX_IMAGES + 1)]
    images = tuple(image["bytes"] for image in shown if isinstance(image, dict) and image.get("bytes"))
    options = tuple(LETTERS[: len(choices)]) if record.get("question_type") == "multiple-choice" else ()
    answer = require(record, "answer", str, path, number)
    target = tuple(map(str, _listed(answer, path, number))) if answer.startswith("[") and not options else (answer,)
    return Item(
        key,
        "multiple_choice" if options else "open_vqa",
        question,
        choices=choices if options else (),
        images=images,
        options=options,
        target=() if answer == "?" else target,
        metadata={
            "subject": subject,
            "discipline": next((name for name, own in DISCIPLINES.items() if subject in own), None),
        },
    )


def _listed(text: Any, path: str, number: int) -> list[Any]:
    """The list that a text in Python's notation holds."""
    try:
        found = ast.literal_eval(text) if text else []
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        found = None
    if not isinstance(found, list):
        raise InputError(f"record {number} of {path} has {text!r} for a list; take the authors' file")
    return found


def read_option(answer: str, options: Sequence[str], choices: Sequence[str]) -> str:
    """The official reading of a choice, without its guess: "(B)", else " B ", else a text; the last of several."""
    for mark in _ENDS:
        answer = answer.strip(mark)
    text = f" {answer} "
    for form in ("({})", " {} "):
        if places := {text.rfind(form.format(o)): o for o in options if form.format(o) in text}:
            return places[max(places)]
    if len(text.split()) <= 5:
        return ""
    low = text.lower()
    found = [(low.rfind(own.lower()), -i) for i, own in enumerate(choices) if own.lower() in low]
    return options[-max(found)[1]] if found else ""


def read_open(answer: str) -> list[str | float]:
    """The official reading of an open answer: the ends of sentences that conclude, and the numbers in them."""
    parts = re.split(r"\.\s(?=[A-Z])|\n", answer.strip().strip(".").lower())
    ends = []
    for i, part in enumerate(parts):
        keys = (*_KEYS, "=") if i == len(parts) - 1 else _KEYS
        shortest = ""
        for end in (part.split(key)[-1].strip() for key in keys if key in part):
            shortest = end if not shortest or len(end) < len(shortest) else shortest
        if shortest and shortest not in _ENDS:
            ends.append(shortest)
    ends = ends or [answer.strip().strip(".").lower()]
    numbers = [number for end in ends for pattern in _NUMBERS for number in pattern.findall(end)]
    return [form for text in (*ends, *numbers) for form in _forms(text)]


def _forms(text: str) -> list[str | float]:
    """A number rounded to two digits, or a text in lower case; a single letter must have a blank beside it."""
    text = text.strip()
    try:
        return [round(float(text.replace(",", "")), 2)]
    except (ValueError, OverflowError):
        text = text.lower()
        return [f" {text}", f"{text} "] if len(text) == 1 else [text]


def is_right(said: Sequence[str | float], targets: Sequence[str]) -> bool:
    """If a number that was said is a right one, or a text that was said holds a right one."""
    right = [form for target in targets for form in _forms(target)]
    texts = [form for form in right if isinstance(form, str)]
    return any(any(own in one for own in texts) if isinstance(one, str) else one in right for one in said)


def score(items: Sequence[Item], answers: Sequence[str]) -> Scored:
    """Accuracy without guessing, and with the guesses that the authors' scripts draw for unreadable choices."""
    generator = random.Random(SEED)
    verdicts, guessed = [], []
    for item, answer in zip(items, answers, strict=True):
        if item.options:
            said = read_option(answer, item.options, item.choices)
            verdicts.append(Judgement(float(said in item.target), said))
            guessed.append(float((said or generator.choice(item.options)) in item.target))
        else:
            verdicts.append(Judgement(float(is_right(read_open(answer), item.target)), answer.strip()))
            guessed.append(verdicts[-1].value)
    scores = {"accuracy": accuracy(values_of(verdicts)), "with the official guesses": accuracy(guessed)}
    scores |= accuracies(items, verdicts, "discipline") | accuracies(items, verdicts, "subject", "subject: ")
    return Scored(scores, verdicts)


def write_examples(examples: Examples, root: Path) -> None:
    """Writes the subjects' files with a question each, in turn of two options, of four, and open."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    picture_type = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    texts = ("id", "question", "options", "answer", "question_type", "subfield")
    columns = pa.schema(
        [*((name, pa.string()) for name in texts), ("image_1", picture_type), ("image_2", picture_type)]
    )
    for i, file in enumerate(BENCHMARK.files):
        picture = examples.pictures[i % len(examples.pictures)]
        question = picture.questions[i % len(picture.questions)]
        choices = example_choices(question, i, 4) if i % 3 else []
        row = {
            "id": f"validation_{Path(file).parent.name}_1",
            "question": f"<image 1> {question.text}",
            "options": str(choices),
            "answer": LETTERS[choices.index(question.answer)] if choices else question.answer,
            "question_type": "multiple-choice" if choices else "open",
            "subfield": question.kind,
            "image_1": {"bytes": picture.jpeg, "path": f"{picture.id}.jpg"},
            "image_2": None,
        }
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist([row], columns), root / file)


BENCHMARK = Benchmark(
    title="MMMU",
    rule="the last (B), else the last B, else an option's text; numbers to two digits (MMMU's eval_utils.py), no guess",
    headline=("accuracy", "with the official guesses"),
    files=tuple(f"mmmu/{subject}/validation-00000-of-00001.parquet" for own in DISCIPLINES.values() for subject in own),
    images="",
    about_files="the subjects' Parquet files of the validation split",
    predictions=RecordFile(id="id", answer="response"),
    read=read,
    score=score,
    write_examples=write_examples,
)
