"""Pictures of which everything is known, from which a benchmark's files can be written in its authors' form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ExampleQuestion:
    """A question about a picture that one or two words answer."""

    text: str
    answer: str
    wrong: tuple[str, ...]  # other answers that make sense, for a choice
    kind: str  # what is asked for, such as "color"


@dataclass(frozen=True)
class ExamplePicture:
    id: int
    jpeg: bytes
    width: int  # in pixels, as `height`
    height: int
    captions: tuple[str, ...]
    objects: tuple[str, ...]  # labels of what it shows, each once
    questions: tuple[ExampleQuestion, ...]


@dataclass(frozen=True)
class Examples:
    pictures: Sequence[ExamplePicture]
    labels: tuple[str, ...]  # of all objects that a picture may show
    seed: int  # for what a writer draws


def write_images(examples: Examples, folder: Path, name: str) -> None:
    """Writes every picture to `folder` under `name`, a format of its id such as "{:012d}.jpg"."""
    folder.mkdir(parents=True, exist_ok=True)
    for picture in examples.pictures:
        (folder / name.format(picture.id)).write_bytes(picture.jpeg)


def example_choices(question: ExampleQuestion, place: int, count: int) -> list[str]:
    """At most `count` answers to choose from, the right one at `place`, counted round."""
    wrong = list(question.wrong[: count - 1])
    place %= len(wrong) + 1
    return [*wrong[:place], question.answer, *wrong[place:]]
