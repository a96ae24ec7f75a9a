"""Dealing documents to micro batches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mmgic.errors import InputError
from mmgic.model.loss import IGNORE
from mmgic.training.packing import deal, pack


@given(lengths=st.lists(st.integers(1, 50), max_size=60), capacity=st.integers(50, 200), workers=st.integers(1, 5))
@hypothesis_settings(deadline=None)
def test_every_document_is_dealt_once(lengths: list[int], capacity: int, workers: int) -> None:
    shares = deal(lengths, capacity, workers)
    assert len(shares) == workers
    assert len({len(share) for share in shares}) == 1
    micro_batches = [micro_batch for share in shares for micro_batch in share]
    assert sorted(position for micro_batch in micro_batches for position in micro_batch) == list(range(len(lengths)))
    loads = [sum(lengths[position] for position in micro_batch) for micro_batch in micro_batches]
    assert max(loads) <= capacity
    # the emptiest micro batch was offered every document, so no other is fuller by more than one document
    assert max(loads) - min(loads) <= max(lengths, default=0)


@pytest.mark.parametrize("mean", [160, 1098])  # of the paper's IC and MMGIC samples
def test_work_is_even_at_the_papers_sizes(mean: int) -> None:
    """512 documents over 32 workers: nothing is padded, so all that is lost is waiting for the fullest micro batch."""
    random = np.random.default_rng(0)
    lengths = np.clip(random.normal(mean, mean / 3, 512), 20, 2048).astype(int).tolist()
    loads = [sum(lengths[i] for i in batch) for share in deal(lengths, 4 * 2048, 32) for batch in share]
    assert np.mean(loads) / max(loads) > 0.93


def test_a_document_that_cannot_fit_is_refused() -> None:
    with pytest.raises(InputError, match="a document has 65 tokens but a micro batch holds only 64"):
        deal([10, 65], 64, 1)


def test_documents_lie_end_to_end() -> None:
    batch = pack([(np.array([1, 2, 3]), np.array([2, IGNORE, IGNORE])), (np.array([4]), np.array([IGNORE]))])
    assert batch.ids.tolist() == [1, 2, 3, 4]
    assert batch.labels.tolist() == [2, IGNORE, IGNORE, IGNORE]
    assert batch.document_lengths == (3, 1)
    assert batch.tokens == 4


def test_a_worker_without_documents_learns_nothing() -> None:
    batch = pack([])
    assert batch.tokens == 0
    assert batch.labels.tolist() == [IGNORE, IGNORE]
