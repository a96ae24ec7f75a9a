"""A language model's answers, kept in a SQLite file as soon as they arrive, and what they cost.

Nothing is paid for twice, also after a kill, and a run that is done again gives the same bytes without a server. The
file uses SQLite's write-ahead log, which is unsafe on shared storage: it wants a disk of the machine that asks. That is
why its default place is the user's cache folder and not the output, which on a cluster is shared.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

from mmgic.errors import InputError
from mmgic.settings import LanguageModelSettings, SettingsError


@dataclass(frozen=True)
class Answer:
    """What came back for a prompt. With a `problem` the text is no whole answer."""

    text: str
    problem: str = ""  # "" or why the answer cannot be used: cut off, refused, or the request failed
    failed: bool = False  # the request failed, and will be made again next time


@dataclass(frozen=True)
class Usage:
    """What answers cost."""

    answers: int
    prompt_tokens: int
    completion_tokens: int
    usd: float  # by the prices of the settings

    def summary(self) -> str:
        return (
            f"{self.answers:,} answers, {self.prompt_tokens:,} prompt tokens, "
            f"{self.completion_tokens:,} completion tokens, {self.usd:.4f} USD"
        )


def sum_usage(parts: Iterable[Usage]) -> Usage:
    """What the answers of several caches cost together."""
    return Usage(*map(sum, zip(*map(astuple, parts), strict=True)))


class AnswerFile:
    """The cache: a SQLite file that several processes of one machine may use at once."""

    def __init__(self, path: str) -> None:
        if "://" in path or not path:
            raise SettingsError(f"language_model.cache is '{path}'; name a file on a disk of this machine")
        self.path = Path(path).expanduser()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self.path, timeout=60, isolation_level=None)
            # a killed process loses nothing; a lost machine at most its last answers
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, model TEXT, purpose TEXT, text TEXT, "
                "problem TEXT, prompt_tokens INTEGER, completion_tokens INTEGER) WITHOUT ROWID"
            )
        except (OSError, sqlite3.Error) as error:
            raise InputError(
                f"cannot keep answers in {path} ({error}); move the file away or set language_model.cache to another"
            ) from None

    def find(self, key: str) -> Answer | None:
        row = self._database.execute("SELECT text, problem FROM answers WHERE key = ?", (key,)).fetchone()
        return Answer(*row) if row else None

    def keep(self, key: str, model: str, purpose: str, answer: Answer, *tokens: int) -> None:
        try:
            self._database.execute(
                "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)",
                (key, model, purpose, answer.text, answer.problem, *tokens),
            )
        except sqlite3.Error as error:
            raise InputError(f"cannot keep an answer in {self.path} ({error}); make room and run again") from None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """While it lasts, no other process keeps an answer or is in here. Raises InputError if it waits too long."""
        try:
            self._database.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise InputError(f"cannot lock {self.path} ({error}); see who holds it and run again") from None
        try:
            yield
        finally:
            self._database.execute("ROLLBACK")

    def usage(self, settings: LanguageModelSettings, purpose: str) -> Usage:
        sums = (
            "SELECT COUNT(*), SUM(prompt_tokens), SUM(completion_tokens) FROM answers WHERE model = ? AND purpose = ?"
        )
        with closing(self._database.execute(sums, (settings.model, purpose))) as found:
            answers, prompt, completion = (number or 0 for number in found.fetchone())
        usd = prompt * settings.usd_per_million_prompt_tokens + completion * settings.usd_per_million_completion_tokens
        return Usage(answers, prompt, completion, usd / 1e6)
