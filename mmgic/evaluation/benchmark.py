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
Task = Literal["image_caption", "open_vqa", "multiple_choice", "text_only"]  # the words around a question (Table 16)

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
    question: str = ""  # with the lines of its options, if it has any; a captioning task has no question
    images: tuple[str | bytes, ...] = ()  # names in the benchmark's image folder, or image files that its files hold
    options: tuple[str, ...] = ()  # this item's own; the most probable one is the answer. None: the model writes freely
    target: tuple[str, ...] = ()  # right answers; none where the authors keep them
    metadata: Mapping[str, Any] = field(default_factory=dict)  # what else the scorer needs: a category, a precision


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

    def read(self, path: Path, items: Sequence[Item]) -> list[str]:
        """The answers to `items`, in their order. Raises InputError for answers to other items and for missing ones."""
        ...

    def write(self, path: Path, items: Sequence[Item], answers: Sequence[ItemAnswer]) -> None: ...


@dataclass(frozen=True)
class Benchmark:
    """One benchmark; its name is that of its file.

    `read` gives the items of each part by the part's name. A part is a setting that is scored by itself, such as one
    POPE file; the benchmark's own scores are means over the parts. One part alone is called "".

    `score` takes items and the answers' texts in the same order. It gives scores by name, none where the items have no
    targets.

    `write_examples` writes files in the authors' form below a folder of downloads, as `files` and `images` say.
    """

    title: str
    headline: tuple[str, ...]  # names of the scores that tables show, the benchmark's number first
    files: tuple[str, ...]  # annotation files below the folder of downloads
    images: str  # image folder below the folder of downloads; "": there is none
    about_files: str  # what the annotation files are, for the command's help
    predictions: PredictionFile
    read: Callable[[Sequence[str]], dict[str, list[Item]]]
    score: Callable[[Sequence[Item], Sequence[str]], dict[str, Score]]
    write_examples: Callable[[Examples, Path], None]
    constants: tuple[str, ...] = ()  # answers that need no model; their scores stand beside a model's


def image_name(image: str | bytes) -> str:
    """What an item's image is called: its file's name, or a digest of its content."""
    return image if isinstance(image, str) else hashlib.blake2b(image, digest_size=16).hexdigest()
