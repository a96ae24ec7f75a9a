"""MMBench (dev): choices asked once and again with their options rotated (Liu et al., 2023d)."""

from __future__ import annotations

import base64
import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmgic.errors import InputError
from mmgic.evaluation.benchmark import Benchmark, Item, Judgement, Score, Scored
from mmgic.evaluation.examples import Examples, example_choices
from mmgic.evaluation.files import Record, encoded_image, read_records
from mmgic.evaluation.predictions import RecordFile
from mmgic.evaluation.scorers.choices import RULE, judged
from mmgic.evaluation.scorers.groups import accuracies, accuracy, grouped, values_of

ROTATION = 1_000_000  # what a rotation adds to a question's index
LETTERS = "ABCD"


def read(files: Sequence[str]) -> dict[str, list[Item]]:
    """The rows of a TSV, rotations among them. A picture is base64, or the index of the row that has it."""
    if len(files) != 1:
        raise InputError(f"MMBench is one TSV, not {len(files)} files; name one")
    [path] = files
    cells = [{name: str(cell) for name, cell in row.items()} for row in read_records(path)]
    rows = {_index(row, path): row for row in cells}
    if len(rows) < len(cells):
        raise InputError(f"{path} has an index twice; take the authors' TSV")
    rotations = Counter(index % ROTATION for index in rows)
    return {"": [_item(index, row, rows, rotations, path) for index, row in rows.items()]}


def _index(row: Record, path: str) -> int:
    try:
        return int(row["index"])
    except (KeyError, ValueError):
        raise InputError(f"{path} is no MMBench TSV: it needs a column 'index' of whole numbers") from None


def _item(index: int, row: Record, rows: Mapping[int, Record], rotations: Counter[int], path: str) -> Item:
    present = {letter: row[letter] for letter in LETTERS if _text(row.get(letter))}
    if not present or not _text(row.get("question")) or "image" not in row:
        raise InputError(f"row {index} of {path} lacks a question, options or a picture; take the authors' TSV")
    picture = row["image"]
    if picture.isdigit() and int(picture) in rows:
        picture = rows[int(picture)]["image"]
    return Item(
        index,
        "multiple_choice",
        row["question"],
        hint=_text(row.get("hint")),
        choices=tuple(present.values()),
        images=(encoded_image(picture),),
        options=tuple(present),
        target=(row["answer"],) if row.get("answer") in present else (),
        metadata={
            "category": row.get("category"),
            "l2": row.get("l2-category"),
            "question": index % ROTATION,
            "rotations": rotations[index % ROTATION],
        },
    )


def _text(cell: str | None) -> str:
    """A cell's text; pandas writes "nan" for an empty one."""
    return "" if cell is None or cell.strip() in ("", "nan") else cell


def score(items: Sequence[Item], answers: Sequence[str]) -> Scored:
    """Circular accuracy counts a question if all of its rotations are answered right; vanilla asks once."""
    verdicts = judged(items, answers)
    groups = grouped(items, verdicts, "question")
    notes: tuple[str, ...] = ()
    scores: dict[str, Score] = {}
    if all(len(groups[str(item.metadata["question"])]) == item.metadata["rotations"] for item in items):
        questions = list({item.metadata["question"]: item for item in items}.values())
        all_right = [Judgement(min(groups[str(item.metadata["question"])]), "") for item in questions]
        scores["circular"] = accuracy(values_of(all_right))
        scores |= accuracies(questions, all_right, "l2", "circular: ")
        scores |= accuracies(questions, all_right, "category", "circular: ")
    else:
        notes = ("no circular accuracy: it takes answers to all rotations of a question",)
    if first := [verdict.value for item, verdict in zip(items, verdicts, strict=True) if int(item.id) < ROTATION]:
        scores["vanilla"] = accuracy(first)
    return Scored(scores | {"all rows": accuracy(values_of(verdicts))}, verdicts, notes)


def write_examples(examples: Examples, root: Path) -> None:
    """Writes the TSV: questions of two and of four options with their rotations, pictures by base64 or by reference."""
    rows: list[dict[str, object]] = []
    for number, picture in enumerate(examples.pictures):
        question = picture.questions[number % len(picture.questions)]
        choices = example_choices(question, number, len(LETTERS))
        for turn in range(len(choices)):
            turned = choices[turn:] + choices[:turn]
            options = {letter: turned[k] if k < len(turned) else "" for k, letter in enumerate(LETTERS)}
            answer = LETTERS[turned.index(question.answer)]
            row: dict[str, object] = {
                "index": number + turn * ROTATION,
                "question": question.text,
                "hint": "nan",
                **options,
            }
            kind = {"category": f"{question.kind}_recognition", "l2-category": "finegrained_perception"}
            image = str(number) if turn else base64.b64encode(picture.jpeg).decode()
            rows.append({**row, "answer": answer, **kind, "image": image, "split": "dev"})
    path = root / BENCHMARK.files[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]), delimiter="\t")
        table.writeheader()
        table.writerows(rows)


BENCHMARK = Benchmark(
    title="MMBench",
    rule=f"{RULE}; circular: all rotations of a question right",
    headline=("circular", "vanilla"),
    files=("mmbench/mmbench_dev_20230712.tsv",),
    images="",
    about_files="the TSV, such as mmbench_dev_20230712.tsv",
    predictions=RecordFile(id="index", answer="prediction", question="question"),
    read=read,
    score=score,
    write_examples=write_examples,
    server="the MMBench server, as they were written",
)
