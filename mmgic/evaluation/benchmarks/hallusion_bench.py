"""HallusionBench: yes-or-no questions on figures and on changed copies of them (Guan et al., 2024).

The authors let GPT-4 judge; here, as in VLMEvalKit, yes and no are read from the answer, and nothing else.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmgic.errors import InputError
from mmgic.evaluation.benchmark import Benchmark, Item, Judgement, Score, Scored
from mmgic.evaluation.examples import Examples, write_images
from mmgic.evaluation.files import listed, require
from mmgic.evaluation.predictions import RecordFile
from mmgic.evaluation.scorers.groups import accuracy, grouped, values_of
from mmgic.sources.reading.json_files import read_json

IMAGES = "hallusion_bench/images"
KEYS = ("category", "subcategory", "visual_input", "set_id", "figure_id", "question_id")
OPTIONS = ("Yes", "No")
ID = "_".join(KEYS)


def read(files: Sequence[str]) -> dict[str, list[Item]]:
    """The questions of HallusionBench.json; those without an image need not be answered."""
    if len(files) != 1:
        raise InputError(f"HallusionBench is one file, not {len(files)}; name HallusionBench.json")
    [path] = files
    items = []
    for number, record in listed(read_json(path), path):
        keys = {key: str(require(record, key, (str, int), path, number)) for key in KEYS}
        answer = str(record.get("gt_answer"))
        if answer not in ("0", "1"):
            raise InputError(f"'gt_answer' of record {number} of {path} is {answer!r}; it must be 0 or 1")
        image = str(record.get("filename") or "").removeprefix("./") if keys["visual_input"] != "0" else ""
        items.append(
            Item(
                "_".join(keys.values()),
                "open_vqa",
                require(record, "question", str, path, number),
                images=(image,) if image else (),
                options=OPTIONS,
                target=("yes" if answer == "1" else "no",),
                metadata={**keys, "optional": not image},
            )
        )
    if len({item.id for item in items}) < len(items):
        raise InputError(f"{path} has a question twice; take the authors' file")
    return {"": items}


class QuestionFile(RecordFile):
    """Records with `ID`, or with the fields that it is made of, as the authors' file has them."""

    def answered(self, records: Any, items: Sequence[Item], path: Path, subset: bool) -> Any:
        made = ({self.id: "_".join(str(record[key]) for key in KEYS), **record} if set(KEYS) <= set(record) else record
                for record in records)  # fmt: skip
        return super().answered(list(made), items, path, subset)


def says(answer: str) -> str:
    """Yes or no, if the answer holds exactly one of the two words; "" for anything else."""
    words = {word for word in re.findall(r"\w+", answer.lower()) if word in ("yes", "no")}
    return words.pop() if len(words) == 1 else ""


def score(items: Sequence[Item], answers: Sequence[str]) -> Scored:
    """Both ways of counting: the questions with an image (VLMEvalKit), and all (the authors)."""
    said = [says(answer) for answer in answers]
    verdicts = [Judgement(float(read in item.target), read) for item, read in zip(items, said, strict=True)]
    shown = [i for i, item in enumerate(items) if item.images]
    scores: dict[str, Score] = {}
    if shown:
        scores |= _with_images([items[i] for i in shown], [verdicts[i] for i in shown])
    if len(shown) < len(items):
        scores |= _all(items, verdicts)
    return Scored(scores, verdicts)


def _with_images(items: Sequence[Item], verdicts: Sequence[Judgement]) -> dict[str, Score]:
    """VLMEvalKit's numbers, which tell neither category from the other by a figure's or a question's name."""
    a = accuracy(values_of(verdicts))
    f, q = (
        accuracy([min(own) for own in grouped(items, verdicts, _key("subcategory", "set_id", name)).values()])
        for name in ("figure_id", "question_id")
    )
    mean = Score((a.raw + f.raw + q.raw) / 3, "%")
    counted = {"questions with an image": Score(len(items), "count")}
    return {"mean of the three": mean, "aAcc": a, "fAcc": f, "qAcc": q, **counted}


def _all(items: Sequence[Item], verdicts: Sequence[Judgement]) -> dict[str, Score]:
    """The authors' numbers: without its figure a VS question may be answered by neither, and is no figure's."""
    own = []
    for item, verdict in zip(items, verdicts, strict=True):
        bare = item.metadata["category"] == "VS" and item.metadata["figure_id"] == "0"
        own.append(Judgement(1.0, "") if bare and not verdict.read else verdict)
    place = ("category", "subcategory", "set_id")
    figures: dict[str, list[float]] = defaultdict(list)
    for item, verdict in zip(items, own, strict=True):
        if item.metadata["category"] != "VS" or item.metadata["figure_id"] != "0":
            figures[_key(*place, "figure_id")(item)].append(verdict.value)
    questions = grouped(items, own, _key(*place, "question_id"))
    return {
        "aAcc, all questions": accuracy(values_of(own)),
        "fAcc, all questions": accuracy([min(values) for values in figures.values()]),
        "qAcc, all questions": accuracy([min(values) for values in questions.values()]),
        "all questions": Score(len(items), "count"),
    }


def _key(*names: str) -> Any:
    return lambda item: "_".join(item.metadata[name] for name in names)


def write_examples(examples: Examples, root: Path) -> None:
    """Writes HallusionBench.json: for each picture a figure of its set with two questions, one asked without it too."""
    write_images(examples, root / IMAGES / "VS" / "toy", "{}.jpg")
    records: list[dict[str, Any]] = []
    for i, picture in enumerate(examples.pictures):
        asked = [question for question in picture.questions if question.kind == "object"]
        for k, question in enumerate(asked):
            place = {
                "set_id": str(i),
                "question_id": str(k),
                "sample_note": "toy",
                "gt_answer_details": question.answer,
            }
            own = {"category": "VS", "subcategory": "toy", **place, "question": question.text}
            answer = {"gt_answer": str(int(question.answer == "yes"))}
            name = f"./VS/toy/{picture.id}.jpg"
            records.append({**own, **answer, "visual_input": "1", "figure_id": "1", "filename": name})
            if k == 0:
                records.append({**own, **answer, "visual_input": "0", "figure_id": "0", "filename": None})
    (root / BENCHMARK.files[0]).write_text(json.dumps(records), encoding="utf-8")


BENCHMARK = Benchmark(
    title="HallusionBench",
    rule="the only yes or no of the answer, no judge; all of a figure (fAcc), of a question (qAcc) right (VLMEvalKit)",
    headline=("mean of the three", "aAcc", "fAcc", "qAcc"),
    files=("hallusion_bench/HallusionBench.json",),
    images=IMAGES,
    about_files="HallusionBench.json",
    predictions=QuestionFile(id=ID, answer="model_prediction", question="question"),
    read=read,
    score=score,
    write_examples=write_examples,
)
