"""The order of samples: what the text of a curriculum means, and that position and seed alone decide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mmgic.settings import SettingsError
from mmgic.training.curriculum import SampleOrder, Share, Term, keyed_permutation, parse_curriculum

MMGIC, IC = range(0, 7), range(7, 12)


@pytest.mark.parametrize(
    ("text", "phases"),
    [
        ("ic", ((Term("ic"),),)),
        ("mmgic+ic -> mmgic", ((Term("mmgic"), Term("ic")), (Term("mmgic"),))),
        (" 3 * mmgic + ic->mmgic ", ((Term("mmgic", 3), Term("ic")), (Term("mmgic"),))),
        ("ic -> 2*mmgic -> ic", ((Term("ic"),), (Term("mmgic", 2),), (Term("ic"),))),
        ("ic[4.06M]", ((Term("ic", size=4_060_000),),)),
        ("2*ic [ 300 ]+mmgic[1.5K]->ic", ((Term("ic", 2, 300), Term("mmgic", size=1500)), (Term("ic"),))),
    ],
)
def test_curricula_of_the_paper(text: str, phases: object) -> None:
    assert parse_curriculum(text) == phases


@pytest.mark.parametrize(
    ("text", "character"),
    [
        *(("", 1), ("mmgic+", 7), ("mmgic ic", 1), ("-> ic", 1), ("mmgic -> ", 9), ("0*ic", 1), ("ic+3", 4)),
        *(("x*ic", 1), ("ic[]", 1), ("ic[0]", 1), ("ic+mmgic[4G]", 4), ("ic[4.06M", 1)),
    ],
)
def test_other_text_is_refused_where_it_goes_wrong(text: str, character: int) -> None:
    with pytest.raises(SettingsError, match=f"cannot be read from character {character} on"):
        parse_curriculum(text)


@given(size=st.integers(1, 3000), key=st.text(max_size=5))
@hypothesis_settings(deadline=None)
def test_the_keyed_permutation_is_one_to_one(size: int, key: str) -> None:
    assert sorted(keyed_permutation(np.arange(size), size, key).tolist()) == list(range(size))


def test_the_keyed_permutation_shuffles() -> None:
    """Where an entry lands says nothing of where it was: rank correlation, and how often neighbours stay neighbours."""
    values = keyed_permutation(np.arange(10_000), 10_000, "key")
    assert abs(np.corrcoef(values, np.arange(10_000))[0, 1]) < 0.05
    assert np.mean(np.abs(np.diff(values)) == 1) < 0.005
    assert (values != keyed_permutation(np.arange(10_000), 10_000, "other")).mean() > 0.99


def test_far_positions_cost_no_more() -> None:
    size = 62_000_000
    order = SampleOrder([Share(range(size), 1)], stage=0, seed=0)
    assert len({visit.index for visit in order.visits(size - 512, size)}) == 512


@given(
    shares=st.sampled_from([[(MMGIC, 1)], [(MMGIC, 1), (IC, 1)], [(MMGIC, 3), (IC, 1)], [(np.array([2, 5, 9]), 2)]]),
    cuts=st.lists(st.integers(0, 60), max_size=5),
    seed=st.integers(0, 5),
)
@hypothesis_settings(deadline=None)
def test_the_order_does_not_depend_on_how_it_is_asked_for(
    shares: list[tuple[Sequence[int], int]], cuts: list[int], seed: int
) -> None:
    def order() -> SampleOrder:
        return SampleOrder([Share(*share) for share in shares], 1, seed)

    whole = order().visits(0, 60)
    borders = sorted({0, 60, *cuts})
    pieces = [order().visits(start, stop) for start, stop in pairwise(borders)]
    assert [visit for piece in pieces for visit in piece] == whole
    assert len({(visit.index, visit.name) for visit in whole}) == 60  # no visit comes twice


def test_passes_of_a_stage() -> None:
    order = SampleOrder([Share(MMGIC, 3), Share(IC, 1)], 0, seed=1)
    assert order.size == 3 * 7 + 5
    for start in (0, order.size):
        counts = Counter(visit.index for visit in order.visits(start, start + order.size))
        assert counts == {**dict.fromkeys(MMGIC, 3), **dict.fromkeys(IC, 1)}
    passes = [order.visits(start, start + order.size) for start in (0, order.size)]
    assert [v.index for v in passes[0]] != [v.index for v in passes[1]]
    assert [v.index for v in SampleOrder([Share(MMGIC, 3), Share(IC, 1)], 1, seed=1).visits(0, order.size)] != [
        v.index for v in passes[0]
    ]
