"""The documents of one optimizer step, dealt out to workers and micro batches, with nothing padded.

A micro batch is one row of documents laid end to end. Its length varies; what is kept equal is the number of micro
batches of every worker and, as nearly as whole documents allow, their tokens.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from mmgic.errors import InputError
from mmgic.model.loss import IGNORE


@dataclass(frozen=True)
class MicroBatch:
    """Documents laid end to end: `ids` and `labels` int64 [length]; `document_lengths` adds up to length."""

    ids: Tensor
    labels: Tensor
    document_lengths: tuple[int, ...]
    tokens: int  # of the documents: 0 if a place holder stands for them

    def to(self, device: torch.device) -> MicroBatch:
        ids, labels = (tensor.to(device, non_blocking=True) for tensor in (self.ids, self.labels))
        return replace(self, ids=ids, labels=labels)


def deal(lengths: Sequence[int], capacity: int, workers: int) -> list[list[list[int]]]:
    """Positions in `lengths` by worker and micro batch; every worker has the same number of micro batches.

    That number is the smallest at which giving each document, longest first, to the emptiest micro batch leaves none
    above `capacity` tokens. A micro batch is empty only if there are fewer documents than micro batches. Raises
    InputError for a document longer than `capacity`.
    """
    longest = max(lengths, default=0)
    if longest > capacity:
        raise InputError(
            f"a document has {longest} tokens but a micro batch holds only {capacity}; raise "
            "training.micro_batch_tokens, or lower documents.max_tokens and build the documents again"
        )
    by_length = sorted(range(len(lengths)), key=lambda position: (-lengths[position], position))
    per_worker = max(1, -(-sum(lengths) // (workers * capacity)))
    while True:
        bins: list[list[int]] = [[] for _ in range(workers * per_worker)]
        loads = [(0, number) for number in range(len(bins))]
        for position in by_length:
            load, number = loads[0]
            heapq.heapreplace(loads, (load + lengths[position], number))
            bins[number].append(position)
        if max(load for load, _ in loads) <= capacity:
            return [bins[worker::workers] for worker in range(workers)]
        per_worker += 1


def pack(documents: Sequence[tuple[np.ndarray, np.ndarray]]) -> MicroBatch:
    """`documents` are (tokens, labels) of equal lengths. None at all gives a place holder that nothing is learnt from,
    because each worker must take part in every backward pass."""
    tokens = sum(len(ids) for ids, _ in documents)
    if not documents:  # a single token would be compiled on its own
        documents = [(np.zeros(2, dtype=np.int64), np.full(2, IGNORE, dtype=np.int64))]
    return MicroBatch(
        ids=torch.from_numpy(np.concatenate([ids for ids, _ in documents]).astype(np.int64)),
        labels=torch.from_numpy(np.concatenate([labels for _, labels in documents])),
        document_lengths=tuple(len(ids) for ids, _ in documents),
        tokens=tokens,
    )
