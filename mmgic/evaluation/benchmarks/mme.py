"""MME: fourteen kinds of yes-or-no questions, two about each image (Fu et al., 2023)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmgic.errors import InputError
from mmgic.evaluation.benchmark import Answered, Benchmark, Item, ItemAnswer, Judgement, Score, Scored
from mmgic.evaluation.examples import Examples, write_images
from mmgic.evaluation.files import Record, read_rows
from mmgic.evaluation.predictions import RecordFile
from mmgic.evaluation.scorers.groups import accuracy, values_of
from mmgic.files import write_text

PERCEPTION = (
    "existence", "count", "position", "color", "posters", "celebrity", "scene", "landmark", "artwork", "OCR",
)  # fmt: skip
COGNITION = ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning")
IN_FOLDER = ("posters", "celebrity", "scene", "landmark", "artwork")  # subtasks whose images lie one folder deeper
OPTIONS = ("Yes", "No")
SUFFIX = "Please answer yes or no."  # Table 16's words take its place
IMAGES, IMAGE_NAME = "mme", "{}.jpg"
_WINDOW = 4  # characters in which the official rule looks for yes and no


def read(files: Sequence[str]) -> dict[str, list[Item]]:
    """The questions of the subtasks' files, which their names tell; their lines are image, question, right answer."""
    items = [item for file in files for item in _subtask(file)]
    if len({_task(file) for file in files}) < len(files):
        raise InputError("two files of MME are of one subtask; give each of the fourteen once")
    return {"": items}


def _task(file: str | Path) -> str:
    name = Path(file).stem
    return next((task for task in (*PERCEPTION, *COGNITION) if task.lower() == name.lower()), name)


def _subtask(file: str) -> Iterator[Item]:
    task = _task(file)
    if task not in (*PERCEPTION, *COGNITION):
        raise InputError(f"{file} is none of MME's subtasks; its files are {', '.join((*PERCEPTION, *COGNITION))}.txt")
    rows = _rows(file)
    for first, second in zip(rows[::2], rows[1::2], strict=True):
        if first[0] != second[0] or {first[2], second[2]} != {"Yes", "No"}:
            raise InputError(f"{file} lacks a Yes and a No in a row about {first[0]}; take the authors' file")
    for image, question, answer, *_ in rows:
        yield Item(
            f"{task}/{image}",
            "open_vqa",
            question.replace(SUFFIX, "").strip(),
            images=(f"{task}/images/{image}" if task in IN_FOLDER else f"{task}/{image}",),
            options=OPTIONS,
            target=(answer.lower(),),
            metadata={"task": task},
        )


def _rows(file: str | Path) -> list[list[str]]:
    """Lines of at least image, question and answer, two about each image."""
    rows = [[cell.strip() for cell in row[:3]] + row[3:] for row in read_rows(file, "\t", quoted=False)]
    if any(len(row) < 3 for row in rows) or len(rows) % 2:
        raise InputError(f"{file} must have two lines about each image, of image, question and answer between tabs")
    return rows


@dataclass(frozen=True)
class SubtaskFiles(RecordFile):
    """`RecordFile`, or a folder of the subtasks' files with answers in a fourth column, which the authors score."""

    @property
    def about(self) -> str:
        return f"a folder of the subtasks' .txt files with answers in a fourth column; or {super().about}"

    def read(self, path: Path, items: Sequence[Item], subset: bool = False) -> Answered:
        return (
            super().read(path, items, subset)
            if not path.is_dir()
            else self.answered(_folder(path), items, path, subset)
        )

    def write(self, path: Path, items: Sequence[Item], answers: Sequence[ItemAnswer]) -> None:
        """Writes the records, and beside them the folder that the authors' script takes."""
        super().write(path, items, answers)
        lines: dict[str, list[str]] = {}
        for item, answer in zip(items, answers, strict=True):
            said = " ".join(answer.text.split())
            cells = (Path(str(item.id)).name, f"{item.question} {SUFFIX}", item.target[0].title(), said)
            lines.setdefault(item.metadata["task"], []).append("\t".join(cells))
        for task, own in lines.items():
            write_text(str(path.with_suffix("") / f"{task}.txt"), "".join(f"{line}\n" for line in own))


def _folder(path: Path) -> list[Record]:
    records: list[Record] = []
    for file in sorted(path.glob("*.txt")):
        for row in _rows(file):
            if len(row) < 4:
                raise InputError(f"{file} has a line without an answer in its fourth column")
            question = row[1].replace(SUFFIX, "").strip()
            records.append(
                {"question_id": f"{_task(file)}/{row[0]}", "question": question, "answer": "\t".join(row[3:])}
            )
    if not records:
        raise InputError(f"{path} holds no .txt files of MME's subtasks")
    return records


def says(answer: str) -> str:
    """The official reading: yes or no, if the first four characters hold it; "" for anything else."""
    text = answer.lower()
    if text in ("yes", "no"):
        return text
    start = text[:_WINDOW]
    return "yes" if "yes" in start else "no" if "no" in start else ""


def score(items: Sequence[Item], answers: Sequence[str]) -> Scored:
    said = [says(answer) for answer in answers]
    verdicts = [Judgement(float(read in item.target), read) for item, read in zip(items, said, strict=True)]
    tasks = {task: [i for i, item in enumerate(items) if item.metadata["task"] == task] for task in _tasks(items)}
    points = {task: _points([items[i] for i in own], [verdicts[i] for i in own]) for task, own in tasks.items()}
    scores, notes = {}, []
    for name, subtasks in (("perception", PERCEPTION), ("cognition", COGNITION)):
        if missing := [task for task in subtasks if task not in points]:
            notes.append(f"no {name} and no total without {', '.join(missing)}")
        else:
            scores[name] = Score(sum(points[task] for task in subtasks), "points")
    if len(scores) == 2:
        scores = {"total": Score(sum(score.raw for score in scores.values()), "points"), **scores}
    for task, own in tasks.items():
        if len(own) > 2 and len({said[i] for i in own}) == 1:
            notes.append(f"all {len(own)} answers of {task} are read as {said[own[0]] or 'neither yes nor no'!r}")
    return Scored(scores | {task: Score(value, "points") for task, value in points.items()}, verdicts, tuple(notes))


def _tasks(items: Sequence[Item]) -> list[str]:
    there = {item.metadata["task"] for item in items}
    return [task for task in (*PERCEPTION, *COGNITION) if task in there]


def _points(items: Sequence[Item], verdicts: Sequence[Judgement]) -> float:
    """Accuracy in % plus the share of images, in %, both of whose questions are answered right; at most 200."""
    both: dict[str, list[float]] = {}
    for item, verdict in zip(items, verdicts, strict=True):
        both.setdefault(str(item.id), []).append(verdict.value)
    pairs = [min(own) if len(own) == 2 else 0.0 for own in both.values()]
    return accuracy(values_of(verdicts)).printed + accuracy(pairs).printed


def write_examples(examples: Examples, root: Path) -> None:
    """Writes the subtasks' files with two questions about two pictures each, as far as they have a yes and a no."""
    both: Mapping[int, dict[str, str]] = {
        picture.id: {question.answer: question.text for question in picture.questions if question.kind == "object"}
        for picture in examples.pictures
    }
    for number, file in enumerate(BENCHMARK.files):
        folder = root / Path(file).with_suffix("") / ("images" if Path(file).stem in IN_FOLDER else "")
        pictures = [picture for picture in examples.pictures if both[picture.id].keys() == {"yes", "no"}]
        shown = [pictures[(number + k) % len(pictures)] for k in range(min(2, len(pictures)))]
        write_images(Examples(shown, examples.labels, examples.seed), folder, IMAGE_NAME)
        lines = [
            f"{IMAGE_NAME.format(picture.id)}\t{both[picture.id][answer.lower()]} {SUFFIX}\t{answer}\n"
            for picture in shown
            for answer in OPTIONS
        ]
        (root / file).write_text("".join(lines), encoding="utf-8")


BENCHMARK = Benchmark(
    title="MME",
    rule="yes or no in the first four characters; accuracy + share of images both right (MME's calculation.py)",
    headline=("total", "perception", "cognition"),
    files=tuple(f"mme/{task}.txt" for task in (*PERCEPTION, *COGNITION)),
    images=IMAGES,
    about_files="the fourteen subtasks' .txt files",
    predictions=SubtaskFiles(id="question_id", answer="answer", question="question", lines=True),
    read=read,
    score=score,
    write_examples=write_examples,
)
