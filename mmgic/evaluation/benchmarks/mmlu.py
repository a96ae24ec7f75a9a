"""MMLU (5-shot): examination questions of 57 subjects in text alone (Hendrycks et al., 2021; Appendix C.8)."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from mmgic.errors import InputError
from mmgic.evaluation.benchmark import Benchmark, Item, Score, Scored
from mmgic.evaluation.examples import Examples, example_choices
from mmgic.evaluation.files import read_rows
from mmgic.evaluation.predictions import RecordFile
from mmgic.evaluation.scorers.choices import RULE, judged
from mmgic.evaluation.scorers.groups import accuracy, grouped, values_of

LETTERS = "ABCD"
SHOTS = 5
SUBJECTS = """
    abstract_algebra anatomy astronomy business_ethics clinical_knowledge college_biology college_chemistry
    college_computer_science college_mathematics college_medicine college_physics computer_security conceptual_physics
    econometrics electrical_engineering elementary_mathematics formal_logic global_facts high_school_biology
    high_school_chemistry high_school_computer_science high_school_european_history high_school_geography
    high_school_government_and_politics high_school_macroeconomics high_school_mathematics high_school_microeconomics
    high_school_physics high_school_psychology high_school_statistics high_school_us_history high_school_world_history
    human_aging human_sexuality international_law jurisprudence logical_fallacies machine_learning management marketing
    medical_genetics miscellaneous moral_disputes moral_scenarios nutrition philosophy prehistory
    professional_accounting professional_law professional_medicine professional_psychology public_relations
    security_studies sociology us_foreign_policy virology world_religions
"""


def read(files: Sequence[str]) -> dict[str, list[Item]]:
    """The questions of the `<subject>_test.csv` files, with shots from the `<subject>_dev.csv` ones.

    An item's id is the subject and the row, from 0: "anatomy/0". Raises InputError for a subject without its shots.
    """
    by_name = {Path(file).stem: file for file in files}
    items = []
    for name, file in by_name.items():
        subject, _, split = name.rpartition("_")
        if split not in ("dev", "test", "val") or not subject:
            raise InputError(
                f"{file} is none of MMLU's files, which are called <subject>_test.csv and <subject>_dev.csv"
            )
        if split != "dev":
            if f"{subject}_dev" not in by_name:
                raise InputError(f"{file} has no {subject}_dev.csv beside it, from which its five shots are taken")
            header = (
                f"The following are multiple choice questions (with answers) about  {subject.replace('_', ' ')}.\n\n"
            )
            shots = [_posed(row) + f" {row[5]}\n\n" for row in _rows(by_name[f"{subject}_dev"])[:SHOTS]]
            items += [_item(subject, i, row, header + "".join(shots)) for i, row in enumerate(_rows(file))]
    if not items:
        raise InputError("MMLU needs <subject>_test.csv files beside those of the shots")
    return {"": items}


def _rows(file: str) -> list[list[str]]:
    rows = read_rows(file, ",")
    for number, row in enumerate(rows, start=1):
        if len(row) != 6 or row[5] not in tuple(LETTERS):
            raise InputError(
                f"record {number} of {file} must be a question, four options and a letter; take the file anew"
            )
    return rows


def _posed(row: Sequence[str]) -> str:
    options = "".join(f"\n{letter}. {text}" for letter, text in zip(LETTERS, row[1:5], strict=True))
    return f"{row[0]}{options}\nAnswer:"


def _item(subject: str, i: int, row: Sequence[str], before: str) -> Item:
    return Item(
        f"{subject}/{i}",
        "text_only",
        before + _posed(row),
        options=tuple(LETTERS),
        target=(row[5],),
        metadata={"subject": subject.replace("_", " ")},
    )


def score(items: Sequence[Item], answers: Sequence[str]) -> Scored:
    """Accuracy over questions, as papers print it, and its mean over subjects."""
    verdicts = judged(items, answers)
    subjects = {name: accuracy(values) for name, values in grouped(items, verdicts, "subject").items()}
    scores = {"accuracy": accuracy(values_of(verdicts))}
    scores["mean of subjects"] = Score(sum(own.raw for own in subjects.values()) / len(subjects), "%")
    return Scored(scores | subjects, verdicts)


def write_examples(examples: Examples, root: Path) -> None:
    """Writes five shots and one question for each subject, about what the pictures' captions say."""
    asked = [question for picture in examples.pictures for question in picture.questions if len(question.wrong) > 2]
    for i, file in enumerate(BENCHMARK.files):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        with (root / file).open("w", encoding="utf-8", newline="") as table:
            rows = csv.writer(table)
            for k in range(SHOTS if file.endswith("_dev.csv") else 1):
                question = asked[(i + k) % len(asked)]
                choices = example_choices(question, i + k, len(LETTERS))
                rows.writerow([question.text, *choices, LETTERS[choices.index(question.answer)]])


BENCHMARK = Benchmark(
    title="MMLU",
    rule=f"{RULE}; five shots, the mean over questions",
    headline=("accuracy",),
    files=tuple(f"mmlu/{split}/{subject}_{split}.csv" for split in ("dev", "test") for subject in SUBJECTS.split()),
    images="",
    about_files="the subjects' _test.csv and _dev.csv files",
    predictions=RecordFile(id="id", answer="prediction", lines=True),
    read=read,
    score=score,
    write_examples=write_examples,
)
