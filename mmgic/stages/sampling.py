"""Samples of an exact size that depend on the seed and the rows' ids alone, in one pass and bounded memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

UInt64Array = NDArray[np.uint64]


@dataclass(frozen=True)
class RowSample:
    """Of a table's rows those with the smallest `rank`, in two groups: the lower `half` and the rest up to `whole`.

    `half` and `whole` are the largest ranks of each; `rows` says how many rows there were, `size` how many were taken.
    """

    key: int
    half: int
    whole: int
    rows: int
    size: int

    def group(self, row_id: int) -> int | None:
        """0 or 1 for a row of the sample, None for any other."""
        rank = int(ranks(np.array([row_id], np.int64), self.key)[0])
        if rank > self.whole:
            return None
        return 0 if rank <= self.half else 1


def sample_key(seed: int, purpose: str) -> int:
    """What the ranks of one sample are made with."""
    return int.from_bytes(hashlib.blake2b(f"{seed}\x1f{purpose}".encode(), digest_size=8).digest(), "little")


def draw_sample(ids: Iterable[NDArray[np.int64]], size: int, key: int) -> RowSample:
    """The sample of `size` rows, or of all if there are fewer, out of distinct row ids in batches of any size.

    The first `size // 2` of it, by rank, are group 0. Memory is that of 2 * `size` numbers beside a batch.
    """
    kept = np.empty(0, np.uint64)
    total = 0
    for batch in ids:
        total += len(batch)
        kept = np.concatenate([kept, ranks(batch, key)])
        if len(kept) > 2 * size:
            kept = _smallest(kept, size)
    kept = np.sort(_smallest(kept, size))
    half, whole = (int(kept[n - 1]) if n else -1 for n in (len(kept) // 2, len(kept)))
    return RowSample(key, half, whole, rows=total, size=len(kept))


def ranks(ids: NDArray[np.int64], key: int) -> UInt64Array:
    """A rank for each id, uint64: SplitMix64's mixing, which is one to one, so that distinct ids never tie."""
    return mix(ids.view(np.uint64) ^ np.uint64(key))


def mix(bits: UInt64Array) -> UInt64Array:
    """One step of SplitMix64 from each of `bits` [N]: a one-to-one scramble of 64 bits."""
    return finalize(bits + np.uint64(0x9E3779B97F4A7C15))


def finalize(bits: UInt64Array) -> UInt64Array:
    """The finalizer of SplitMix64 on `bits` [N], one to one too; it leaves 0 as it is."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def _smallest(values: UInt64Array, size: int) -> UInt64Array:
    return values if len(values) <= size else np.partition(values, size - 1)[:size] if size else values[:0]
