"""POPE: are objects of an image recognised, and no others imagined? (Li et al., 2023c; rules of AoiDragon/POPE)"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations
from pathlib import Path

from mmgic.errors import InputError
from mmgic.evaluation.benchmark import Benchmark, Item, Judgement, Score, Scored
from mmgic.evaluation.examples import ExamplePicture, Examples, write_images
from mmgic.evaluation.files import read_records, require
from mmgic.evaluation.predictions import RecordFile
from mmgic.evaluation.scorers.yes_no import score_yes_no
from mmgic.schema import record_generator

NEGATIVES = ("random", "popular", "adversarial")  # how the absent objects of a file are chosen
IMAGES, IMAGE_NAME = "coco/val2014", "COCO_val2014_{:012d}.jpg"
OPTIONS = ("Yes", "No")
_PAIRS = 3  # questions with each answer about an image


def read(files: Sequence[str]) -> dict[str, list[Item]]:
    """The questions of each POPE file, JSON lines or a JSON array, by the file's name."""
    parts: dict[str, list[Item]] = {}
    for path in files:
        name = Path(path).stem
        if name in parts:
            raise InputError(f"two POPE files are called {name}; rename one, as their answers are named after them")
        parts[name] = list(_read_file(path))
    return parts


def _read_file(path: str) -> Iterator[Item]:
    seen = set()
    for number, record in enumerate(read_records(path), start=1):
        question_id = require(record, "question_id", (int, str), path, number)
        image, text = (require(record, key, str, path, number) for key in ("image", "text"))
        label = record.get("label")
        if label not in ("yes", "no"):
            raise InputError(f"'label' is {label!r} in record {number} of {path}; it must be yes or no")
        if question_id in seen:
            raise InputError(f"{path} has question_id {question_id} twice; score one POPE file at a time")
        seen.add(question_id)
        yield Item(question_id, "open_vqa", text, images=(image,), options=OPTIONS, target=(label,))


def says_yes(answer: str) -> bool:
    """The official reading of a free answer: no if a word before the first full stop is No, no or not; else yes."""
    words = answer.split(".")[0].replace(",", "").split(" ")
    return not any(word in ("No", "not", "no") for word in words)


def readable(answer: str) -> bool:
    """If `answer` holds either a yes or a no (or not), and the official reading takes it so."""
    words = set(re.findall(r"\w+", answer.lower()))
    yes, no = "yes" in words, not words.isdisjoint(("no", "not"))
    return yes != no and yes == says_yes(answer)


def score(items: Sequence[Item], answers: Sequence[str]) -> Scored:
    said, labels = [says_yes(answer) for answer in answers], [item.target == ("yes",) for item in items]
    found = score_yes_no(said, labels)
    clear = [readable(answer) for answer in answers]
    scores = {
        "F1": Score(found.f1, "%"),
        "accuracy": Score(found.accuracy, "%"),
        "precision": Score(found.precision, "%"),
        "recall": Score(found.recall, "%"),
        "said yes": Score(found.yes_ratio, "%"),
        "unreadable, taken for yes": Score(sum(yes and not own for yes, own in zip(said, clear, strict=True)), "count"),
    }
    verdicts = [
        Judgement(float(yes == label), ("yes" if yes else "no") if own else "")
        for yes, label, own in zip(said, labels, clear, strict=True)
    ]
    return Scored(scores, verdicts)


def write_examples(examples: Examples, root: Path) -> None:
    """Writes the three files: for every picture with three objects or more, three questions of each answer.

    The absent objects are drawn at random, are the most frequent ones, or are those that most often occur together with
    the objects of the picture.
    """
    write_images(examples, root / IMAGES, IMAGE_NAME)
    frequency = Counter(label for picture in examples.pictures for label in picture.objects)
    together = Counter(pair for picture in examples.pictures for pair in permutations(picture.objects, 2))
    pictures = [picture for picture in examples.pictures if len(picture.objects) >= _PAIRS]
    for negatives, file in zip(NEGATIVES, BENCHMARK.files, strict=True):
        asked = [
            (picture, label, answer)
            for picture in pictures
            for pair in zip(
                _draw(examples.seed, "yes", picture, picture.objects)[:_PAIRS],
                _absent(examples, picture, negatives, frequency, together)[:_PAIRS],
                strict=True,
            )
            for label, answer in zip(pair, ("yes", "no"), strict=True)
        ]
        lines = [
            {
                "question_id": number,
                "image": IMAGE_NAME.format(picture.id),
                "text": existence_question(label),
                "label": answer,
            }
            for number, (picture, label, answer) in enumerate(asked, start=1)
        ]
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")


def _absent(
    examples: Examples,
    picture: ExamplePicture,
    negatives: str,
    frequency: Mapping[str, int],
    together: Mapping[tuple[str, str], int],
) -> list[str]:
    """The objects that `picture` does not show, those to ask for first."""
    absent = [label for label in examples.labels if label not in picture.objects]
    if negatives == "random":
        return _draw(examples.seed, "no", picture, absent)
    if negatives == "popular":
        return sorted(absent, key=lambda label: -frequency[label])
    return sorted(absent, key=lambda label: -sum(together[label, other] for other in picture.objects))


def _draw(seed: int, answer: str, picture: ExamplePicture, labels: Sequence[str]) -> list[str]:
    """`labels` in an order that is drawn for the picture: the same present objects in all files."""
    rng = record_generator(seed, f"toy pope {answer}", "eval", str(picture.id))
    return [str(label) for label in rng.permutation(labels)]


def existence_question(label: str) -> str:
    return f"Is there {'an' if label[0] in 'aeiou' else 'a'} {label} in the image?"


BENCHMARK = Benchmark(
    title="POPE",
    rule="F1 of yes by the first sentence's words No, no and not; everything else is yes (AoiDragon/POPE)",
    headline=("F1", "accuracy", "unreadable"),
    files=tuple(f"pope/coco_pope_{negatives}.json" for negatives in NEGATIVES),
    images=IMAGES,
    about_files="POPE files with the labels; the scores are means over the files",
    predictions=RecordFile(id="question_id", answer="answer", question="question", lines=True),
    read=read,
    score=score,
    write_examples=write_examples,
)
