"""What a benchmark is: items to ask, answers to score, and the files that its authors read and write.

A file in `mmgic/evaluation/benchmarks/` describes one benchmark by a `Benchmark`. Nothing else knows it by name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from mmgic.evaluation.examples import Examples

ItemId = int | str
Task = Literal["image_caption", "open_vqa", "multiple_choice", "text_only", "image_conversation"]  # words of Table 16

Unit = Literal["%", "x100", "points", "count"]
_FACTORS: Mapping[Unit, float] = {"%": 100, "x100": 100, "points": 1, "count": 1}


@dataclass(frozen=True)
class Score:
    """One number of a benchmark. `raw` is what its scorer computes, `printed` what papers print."""

    raw: float
    unit: Unit

    @property
    def printed(self) -> float:
        return self.raw * _FACTORS[self.unit]

    def __format__(self, spec: str) -> str:
        """The printed value in the format `spec`, such as ".1f"; a count is a whole number whatever it says."""
        return f"{self.raw:,.0f}" if self.unit == "count" else f"{self.printed:{spec}}"


@dataclass(frozen=True)
class Item:
    """One thing that a model is asked."""

    id: ItemId  # as the benchmark's files have it
    task: Task
    question: str = ""  # as its authors ask it; a captioning task has no question
    hint: str = ""  # what may be read before the question
    choices: tuple[str, ...] = ()  # texts of lettered options, in the order of `options`
    images: tuple[str | bytes, ...] = ()  # names in the benchmark's image folder, or image files that its files hold
    options: tuple[str, ...] = ()  # this item's own; the most probable one is the answer. None: the model writes freely
    target: tuple[str, ...] = ()  # right answers; none where the authors keep them
    metadata: Mapping[str, Any] = field(default_factory=dict)  # what else the scorer needs: a category, a precision


@dataclass(frozen=True)
class Judgement:
    """What became of an answer."""

    value: float  # what it counts: from 0 for wrong to 1 for right; for a caption its own CIDEr
    read: str  # what the rule read it as; "" if it could not be read


@dataclass(frozen=True)
class Scored:
    """The scores of a benchmark's answers by name, and the verdict on each answer in their order."""

    scores: Mapping[str, Score]
    verdicts: Sequence[Judgement]
    notes: tuple[str, ...] = ()  # sentences that must be read beside the scores


@dataclass(frozen=True)
class Answered:
    """The answers that a prediction file holds: a text for each of `items`, which are all that were asked or some."""

    items: Sequence[Item]
    texts: list[str]
    notes: tuple[str, ...] = ()  # how the file was read, where another way was possible


@dataclass(frozen=True)
class ItemAnswer:
    """What a model said to an item; `logprobs` are natural log-probabilities of the item's options."""

    text: str
    logprobs: Mapping[str, float] = field(default_factory=dict)


class PredictionFile(Protocol):
    """The form of a benchmark's prediction files. `mmgic.evaluation.predictions` has the usual ones."""

    @property
    def about(self) -> str:
        """The form in a few words, for the command's help."""
        ...

    @property
    def suffix(self) -> str: ...

    def read(self, path: Path, items: Sequence[Item], subset: bool = False) -> Answered:
        """The answers to `items`, in their order; with `subset` to those of them that the file answers.

        Raises InputError for answers to other items, and without `subset` for missing ones.
        """
        ...

    def write(self, path: Path, items: Sequence[Item], answers: Sequence[ItemAnswer]) -> None: ...


@dataclass(frozen=True)
class Benchmark:
    """One benchmark; its name is that of its file.

    `read` gives the items of each part by the part's name. A part is a setting that is scored by itself, such as one
    POPE file; the benchmark's own scores are means over the parts. One part alone is called "".

    `score` takes items that have targets and the answers' texts in the same order.

    `write_examples` writes files in the authors' form below a folder of downloads, as `files` and `images` say.
    """

    title: str
    rule: str  # by which answers are read and counted, and whose it is
    headline: tuple[str, ...]  # names of the scores that tables show, the benchmark's number first
    files: tuple[str, ...]  # annotation files below the folder of downloads
    images: str  # image folder below the folder of downloads; "": there is none
    about_files: str  # what the annotation files are, for the command's help
    predictions: PredictionFile
    read: Callable[[Sequence[str]], dict[str, list[Item]]]
    score: Callable[[Sequence[Item], Sequence[str]], Scored]
    write_examples: Callable[[Examples, Path], None]
    after_pretraining: bool = False  # pre-training alone teaches it (Table 11), with no instructions
    plain: bool = False  # a model's answers are written in lower case without a final full stop, as right ones are
    server: str = ""  # where answers are scored whose targets the authors keep


def image_name(image: str | bytes) -> str:
    """What an item's image is called: its file's name, or a digest of its content."""
    return image if isinstance(image, str) else hashlib.blake2b(image, digest_size=16).hexdigest()
