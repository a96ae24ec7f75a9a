"""A list of problems made from checks that raise at the first one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from mmgic.errors import InputError, explained

T = TypeVar("T")


@dataclass
class Findings:
    """What checks have found: `problems` stop a run, `warnings` do not and are told all the same, `notes` say what was
    looked at or could not be. `fetched_bytes` is the room that images will take that are fetched by url, about."""

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    fetched_bytes: int = 0

    def problem(self, sentence: str) -> None:
        if sentence not in self.problems:
            self.problems.append(sentence)

    def warn(self, sentence: str) -> None:
        self.warnings.append(sentence)

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)

    def add(self, found: Findings) -> None:
        """Adds what other checks have found."""
        for sentence in found.problems:
            self.problem(sentence)
        self.warnings += found.warnings
        self.notes += found.notes
        self.fetched_bytes += found.fetched_bytes

    def refuse(self, what: str) -> None:
        """Raises InputError with all problems, if there are any, for they stop `what`."""
        if len(self.problems) == 1:
            raise InputError(self.problems[0])
        if self.problems:
            listed = "".join(f"\n  {number}. {problem}" for number, problem in enumerate(self.problems, start=1))
            raise InputError(f"{len(self.problems)} things stop {what}:{listed}")

    def attempt(self, check: Callable[[], T]) -> T | None:
        """What `check` returns, or None if it raises the sentence of a user's error, which becomes a problem."""
        try:
            return check()
        except Exception as error:
            if not (sentence := explained(error)):
                raise
            self.problem(sentence)
        return None
