"""The pool of captions that noun phrases draw: counts and smallest hashes of parts of the captions, merged.

Phrases are told apart by 64-bit hashes. Memory grows with distinct phrases, not with captions: 16 bytes a phrase while
counting, and then 16 for each smallest hash (at most `captions_per_phrase`) of those that are frequent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from mmgic.schema import CaptionedImage, CaptionPhrases, reject
from mmgic.settings import PhraseSettings
from mmgic.stages.sampling import mix

PENDING = 1 << 22  # entries that wait to be merged, at least

Ids = np.ndarray[Any, np.dtype[np.uint64]]
Captions = tuple[np.ndarray, np.ndarray, Ids]  # row ids [N], phrases of each row [N], ids of the phrases [their sum]
PoolPart = tuple[np.ndarray, np.ndarray]  # phrase ids (uint64) and, for each, a count (int64) or a hash (uint64)


def count_phrases(ids: Ids) -> PoolPart:
    """Distinct phrases among `ids`, ascending, and how often each occurs."""
    distinct, counts = np.unique(ids, return_counts=True)
    return distinct, counts


def add_counts(parts: Iterable[PoolPart]) -> PoolPart:
    """The sum of what `count_phrases` gave for parts of the captions."""
    return _merged(parts, _summed)


def caption_hashes(seed: int, ids: Ids, row_ids: np.ndarray) -> Ids:
    """The hash (uint64) of seed, phrase and caption for each pair of `ids` and `row_ids` [N]."""
    captions = mix(row_ids.astype(np.int64).view(np.uint64) ^ mix(np.array([seed], np.int64).view(np.uint64)))
    return mix(ids ^ captions)


def smallest_hashes(ids: Ids, hashes: Ids, number: int) -> PoolPart:
    """For each phrase its `number` smallest hashes (or all, if it has fewer), ordered by phrase and hash."""
    order = np.lexsort((hashes, ids))
    ids, hashes = ids[order], hashes[order]
    starts = _starts(ids)
    lengths = np.diff(np.append(starts, len(ids)))
    chosen = np.arange(len(ids)) - np.repeat(starts, lengths) < number
    return ids[chosen], hashes[chosen]


def smallest_of(captions: Captions, seed: int, crowded: Ids, number: int) -> PoolPart:
    """`smallest_hashes` of some captions, for the `crowded` phrases alone."""
    row_ids, lengths, ids = captions
    chosen = np.isin(ids, crowded)
    ids = ids[chosen]
    return smallest_hashes(ids, caption_hashes(seed, ids, np.repeat(row_ids, lengths)[chosen]), number)


def merge_smallest(parts: Iterable[PoolPart], number: int) -> PoolPart:
    """`smallest_hashes` of all captions from those of parts of them."""
    return _merged(parts, lambda ids, hashes: smallest_hashes(ids, hashes, number))


@dataclass(frozen=True)
class Pool:
    """Which captions are drawn: those with a phrase of `ids` (ascending) whose hash is at most its bound."""

    ids: Ids
    bounds: Ids
    seed: int

    def draws(self, row_ids: np.ndarray, lengths: np.ndarray, ids: Ids) -> np.ndarray:
        """bool [rows]: which of the rows are in the pool. `ids` are the rows' phrases, `lengths` of them for each."""
        drawn = np.zeros(len(row_ids), bool)
        if len(self.ids):
            owners = np.repeat(np.arange(len(row_ids)), lengths)
            found = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
            frequent = self.ids[found] == ids
            hashes = caption_hashes(self.seed, ids, row_ids[owners])
            drawn[owners[frequent & (hashes <= self.bounds[found])]] = True
        return drawn


def crowded_phrases(counts: PoolPart, settings: PhraseSettings) -> Ids:
    """The phrases that draw some of their captions only, ascending: those whose smallest hashes a pool needs."""
    ids, numbers = counts
    return ids[(numbers >= settings.min_count) & (numbers > settings.captions_per_phrase)]


def make_pool(counts: PoolPart, smallest: PoolPart, settings: PhraseSettings, seed: int) -> Pool:
    """The pool from the `counts` of all phrases and the `smallest` hashes of the crowded ones."""
    ids, numbers = counts
    ids = ids[numbers >= settings.min_count]
    bounds = np.full(len(ids), np.iinfo(np.uint64).max, np.uint64)
    crowded, hashes = smallest
    if len(crowded):
        last = np.append(_starts(crowded)[1:], len(crowded)) - 1
        bounds[np.searchsorted(ids, crowded[last])] = hashes[last]
    return Pool(ids, bounds, seed)


class SelectRows:
    """The transform of the selection stage: rows of the filtered sources that the pool does not draw are set aside."""

    def __init__(self, pool: Pool, sources: Sequence[str]) -> None:
        self.pool = pool
        self.sources = frozenset(sources)

    def __call__(self, rows: list[CaptionPhrases]) -> list[CaptionedImage]:
        filtered = [i for i, row in enumerate(rows) if row["source"] in self.sources]
        row_ids = np.array([rows[i]["row_id"] for i in filtered], np.int64)
        lengths = np.array([len(rows[i]["phrase_ids"]) for i in filtered], np.int64)
        ids = np.array([id_ for i in filtered for id_ in rows[i]["phrase_ids"]], np.uint64)
        drawn = self.pool.draws(row_ids, lengths, ids)
        results = [_without_phrases(row) for row in rows]
        for i, keep in zip(filtered, drawn.tolist(), strict=True):
            if not keep:
                results[i] = {**results[i], **reject("phrases_not_selected")}
        return results


def _without_phrases(row: CaptionPhrases) -> CaptionedImage:
    columns = CaptionedImage.__annotations__
    return cast(CaptionedImage, {name: value for name, value in row.items() if name in columns})


def _merged(parts: Iterable[PoolPart], compact: Callable[[np.ndarray, np.ndarray], PoolPart]) -> PoolPart:
    """All `parts` as one. Waiting parts are compacted once they outgrow the result, so memory stays a few results."""
    merged: PoolPart = (np.empty(0, np.uint64), np.empty(0, np.uint64))
    waiting: list[PoolPart] = []
    size = 0

    def join() -> PoolPart:
        columns = zip(*[part for part in (merged, *waiting) if len(part[0])], strict=True)
        joined = [np.concatenate(column) for column in columns]
        return compact(joined[0], joined[1]) if joined else merged

    for part in parts:
        waiting.append(part)
        size += len(part[0])
        if size >= max(PENDING, len(merged[0])):
            merged = join()
            waiting, size = [], 0
    return join()


def _summed(ids: np.ndarray, counts: np.ndarray) -> PoolPart:
    order = np.argsort(ids)
    ids, counts = ids[order], counts[order]
    starts = _starts(ids)
    return ids[starts], np.add.reduceat(counts, starts)


def _starts(ids: np.ndarray) -> np.ndarray:
    """Where each run of equal ids begins."""
    return np.flatnonzero(np.append(True, ids[1:] != ids[:-1]))[: len(ids)]
