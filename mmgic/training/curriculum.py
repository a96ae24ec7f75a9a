"""Which sample comes when. A curriculum is written as in the paper: `ic`, `mmgic+ic -> mmgic`, `3*mmgic+ic -> mmgic`.

The order is a function of (seed, position) alone, computed on the spot: nothing is stored, a run goes on from any
step on any number of workers, and the cost of going on does not grow with the step.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmgic.settings import SettingsError
from mmgic.stages.sampling import finalize

_TERM = re.compile(r"\s*(?:(\d+)\s*\*)?\s*([A-Za-z_][A-Za-z0-9_-]*?)\s*(?=\+|->|$)")
_ROUNDS = 6


@dataclass(frozen=True)
class Term:
    """A corpus that is passed `times` times while its phase is passed once."""

    corpus: str
    times: int = 1


Phase = tuple[Term, ...]


def parse_curriculum(text: str) -> tuple[Phase, ...]:
    """The phases of a curriculum, in order; a phase mixes its terms. Raises SettingsError that points at the mistake.

    `3*mmgic+ic -> mmgic` is a first phase in which MMGIC is passed three times and IC once, all of it shuffled
    together, and then a phase of MMGIC alone.
    """
    phases: list[Phase] = []
    terms: list[Term] = []
    position = 0
    while True:
        match = _TERM.match(text, position)
        if not match or match[1] == "0":
            raise SettingsError(
                f"'training.curriculum' is {text!r}, which cannot be read from character {position + 1} on; write it "
                "like 'mmgic', 'mmgic+ic' or '3*mmgic+ic -> mmgic'"
            )
        terms.append(Term(match[2], int(match[1] or 1)))
        position = match.end()
        if text.startswith("+", position):
            position += 1
            continue
        phases.append(tuple(terms))
        terms = []
        if position == len(text):
            return tuple(phases)
        position += len("->")


@dataclass(frozen=True)
class Visit:
    """One visit of the curriculum to a sample of the store; `name` is this visit's own among those to the sample."""

    index: int
    name: str


class SampleOrder:
    """The endless sequence of visits: each phase in turn, a fresh shuffle in each pass; the last phase goes on for
    ever.
    """

    def __init__(
        self, phases: tuple[Phase, ...], corpora: Mapping[str, Sequence[int]], seed: int, epochs: float = 1.0
    ) -> None:
        """`corpora` gives the store indices of each corpus by name; `epochs` is the number of passes of each phase.

        Raises SettingsError for a corpus that has no samples.
        """
        for term in (term for phase in phases for term in phase):
            if term.corpus not in corpora or not len(corpora[term.corpus]):
                known = ", ".join(name for name, indices in sorted(corpora.items()) if len(indices)) or "none"
                raise SettingsError(
                    f"'training.curriculum' names the corpus '{term.corpus}', which has no documents; those that "
                    f"have some: {known}"
                )
        self._phases = phases
        self._corpora = corpora
        self._seed = seed
        self._sizes = [sum(term.times * len(corpora[term.corpus]) for term in phase) for phase in phases]
        self._ends = np.cumsum([round(epochs * size) for size in self._sizes])

    @property
    def total(self) -> int:
        """Visits that the epochs of all phases hold."""
        return int(self._ends[-1])

    def visits(self, start: int, stop: int) -> list[Visit]:
        """The visits at positions `start` to `stop` (exclusive)."""
        visits: list[Visit] = []
        while start < stop:
            phase = min(int(np.searchsorted(self._ends, start, side="right")), len(self._phases) - 1)
            offset = start - (int(self._ends[phase - 1]) if phase else 0)
            size = self._sizes[phase]
            end = min(stop, start + size - offset % size)
            if phase < len(self._phases) - 1:
                end = min(end, int(self._ends[phase]))
            round_, slot = divmod(offset, size)
            slots = np.arange(slot, slot + end - start)
            entries = keyed_permutation(slots, size, f"{self._seed}\x1f{phase}\x1f{round_}")
            visits += [self._visit(phase, round_, int(entry)) for entry in entries]
            start = end
        return visits

    def _visit(self, phase: int, round_: int, entry: int) -> Visit:
        for term in self._phases[phase]:
            indices = self._corpora[term.corpus]
            if entry < term.times * len(indices):
                copy, row = divmod(entry, len(indices))
                return Visit(indices[row], f"{phase}.{round_}.{copy}")
            entry -= term.times * len(indices)
        raise IndexError(entry)


def keyed_permutation(positions: np.ndarray, size: int, key: str) -> np.ndarray:
    """Where a shuffle of range(size), chosen by `key`, puts `positions`: int64 in, int64 out, one to one.

    A Feistel network over the next power of four, walked until it lands below `size` (Black and Rogaway's cycle
    walking).
    """
    half = np.uint64(max(1, (int(size - 1).bit_length() + 1) // 2))
    mask = (np.uint64(1) << half) - np.uint64(1)
    digest = hashlib.blake2b(key.encode(), digest_size=8 * _ROUNDS).digest()
    round_keys = np.frombuffer(digest, dtype="<u8")
    values = positions.astype(np.uint64)
    outside = np.ones(len(values), dtype=bool)
    while outside.any():
        left, right = values[outside] >> half, values[outside] & mask
        for round_key in round_keys:
            left, right = right, left ^ (finalize(right ^ round_key) & mask)
        values[outside] = (left << half) | right
        outside = values >= size
    return values.astype(np.int64)
