"""Which sample comes when. A curriculum is written as in the paper: `ic`, `mmgic+ic -> mmgic`, `3*mmgic+ic -> mmgic`.

A stage of it is trained as a run of its own, one after the other. The order within a stage is a function of (seed,
position) alone, computed on the spot: nothing is stored, a run goes on from any step on any number of workers, and the
cost of going on does not grow with the step.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmgic.settings import SettingsError
from mmgic.stages.sampling import finalize

_TERM = re.compile(
    r"\s*(?:(\d+)\s*\*)?\s*([A-Za-z_][A-Za-z0-9_-]*?)\s*(?:\[\s*(\d+(?:\.\d+)?)\s*([KM]?)\s*\]\s*)?(?=\+|->|$)"
)
_UNITS = {"": 1, "K": 1_000, "M": 1_000_000}
_ROUNDS = 6


@dataclass(frozen=True)
class Term:
    """A corpus that is passed `times` times while its stage is passed once; of its samples `size`, 0 for all."""

    corpus: str
    times: int = 1
    size: int = 0

    def __str__(self) -> str:
        times = f"{self.times}*" if self.times > 1 else ""
        return f"{times}{self.corpus}{f'[{self.size}]' if self.size else ''}"


def parse_curriculum(text: str) -> tuple[tuple[Term, ...], ...]:
    """The stages of a curriculum, in order; a stage mixes its terms. Raises SettingsError that points at the mistake.

    `3*mmgic+ic -> mmgic` is a first stage in which MMGIC is passed three times and IC once, all of it shuffled
    together, and then a stage of MMGIC alone. `ic[4.06M]` is a sample of IC: 4,060,000 of its documents.
    """
    stages: list[tuple[Term, ...]] = []
    terms: list[Term] = []
    position = 0
    while True:
        match = _TERM.match(text, position)
        size = round(float(match[3]) * _UNITS[match[4]]) if match and match[3] else None
        if not match or match[1] == "0" or size == 0:
            raise SettingsError(
                f"'training.curriculum' is {text!r}, which cannot be read from character {position + 1} on; write it "
                "like 'mmgic', 'mmgic+ic', '3*mmgic+ic -> mmgic' or 'ic[4.06M]'"
            )
        terms.append(Term(match[2], int(match[1] or 1), size or 0))
        position = match.end()
        if text.startswith("+", position):
            position += 1
            continue
        stages.append(tuple(terms))
        terms = []
        if position == len(text):
            return tuple(stages)
        position += len("->")


@dataclass(frozen=True)
class Visit:
    """One visit of the curriculum to a sample of the store; `name` is this visit's own among those to the sample."""

    index: int
    name: str


@dataclass(frozen=True)
class Share:
    """What a stage takes of one corpus: store indices, each passed `times` times while the stage is passed once."""

    indices: range | np.ndarray
    times: int


class SampleOrder:
    """The endless sequence of visits of stage number `stage`: its shares mixed, in a fresh shuffle in each pass."""

    def __init__(self, shares: Sequence[Share], stage: int, seed: int) -> None:
        self._shares = shares
        self._stage = stage
        self._seed = seed
        self.size = sum(share.times * len(share.indices) for share in shares)  # visits of one pass

    def visits(self, start: int, stop: int) -> list[Visit]:
        """The visits at positions `start` to `stop` (exclusive)."""
        visits: list[Visit] = []
        while start < stop:
            pass_, slot = divmod(start, self.size)
            end = min(stop, start + self.size - slot)
            key = f"{self._seed}\x1f{self._stage}\x1f{pass_}"
            entries = keyed_permutation(np.arange(slot, slot + end - start), self.size, key)
            visits += [self._visit(pass_, int(entry)) for entry in entries]
            start = end
        return visits

    def _visit(self, pass_: int, entry: int) -> Visit:
        for share in self._shares:
            if entry < share.times * len(share.indices):
                copy, row = divmod(entry, len(share.indices))
                return Visit(int(share.indices[row]), f"{self._stage}.{pass_}.{copy}")
            entry -= share.times * len(share.indices)
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
