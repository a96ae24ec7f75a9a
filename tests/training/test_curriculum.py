"""The order of samples: what the text of a curriculum means, and that position and seed alone decide."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mmgic.settings import SettingsError
from mmgic.training.curriculum import SampleOrder, Term, keyed_permutation, parse_curriculum

CORPORA = {"mmgic": range(0, 7), "ic": range(7, 12), "empty": range(12, 12)}


@pytest.mark.parametrize(
    ("text", "phases"),
    [
        ("ic", ((Term("ic"),),)),
        ("mmgic+ic -> mmgic", ((Term("mmgic"), Term("ic")), (Term("mmgic"),))),
        (" 3 * mmgic + ic->mmgic ", ((Term("mmgic", 3), Term("ic")), (Term("mmgic"),))),
        ("ic -> 2*mmgic -> ic", ((Term("ic"),), (Term("mmgic", 2),), (Term("ic"),))),
    ],
)
def test_curricula_of_the_paper(text: str, phases: object) -> None:
    assert parse_curriculum(text) == phases


@pytest.mark.parametrize(
    ("text", "character"),
    [("", 1), ("mmgic+", 7), ("mmgic ic", 1), ("-> ic", 1), ("mmgic -> ", 9), ("0*ic", 1), ("ic+3", 4), ("x*ic", 1)],
)
def test_other_text_is_refused_where_it_goes_wrong(text: str, character: int) -> None:
    with pytest.raises(SettingsError, match=f"cannot be read from character {character} on"):
        parse_curriculum(text)


def test_a_corpus_without_documents_is_refused() -> None:
    with pytest.raises(SettingsError, match="'empty', which has no documents; those that have some: ic, mmgic"):
        SampleOrder(parse_curriculum("empty"), CORPORA, seed=0)


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
    order = SampleOrder(parse_curriculum("ic"), {"ic": range(size)}, seed=0)
    assert len({visit.index for visit in order.visits(size - 512, size)}) == 512


@given(
    curriculum=st.sampled_from(["mmgic", "mmgic+ic", "3*mmgic+ic -> mmgic", "ic -> 2*mmgic"]),
    epochs=st.sampled_from([1.0, 2.0, 0.5]),
    cuts=st.lists(st.integers(0, 60), max_size=5),
    seed=st.integers(0, 5),
)
@hypothesis_settings(deadline=None)
def test_the_order_does_not_depend_on_how_it_is_asked_for(
    curriculum: str, epochs: float, cuts: list[int], seed: int
) -> None:
    def order() -> SampleOrder:
        return SampleOrder(parse_curriculum(curriculum), CORPORA, seed, epochs)

    whole = order().visits(0, 60)
    borders = sorted({0, 60, *cuts})
    pieces = [order().visits(start, stop) for start, stop in pairwise(borders)]
    assert [visit for piece in pieces for visit in piece] == whole
    assert len({(visit.index, visit.name) for visit in whole}) == 60  # no visit comes twice


def test_passes_of_each_phase() -> None:
    order = SampleOrder(parse_curriculum("3*mmgic+ic -> mmgic"), CORPORA, seed=1, epochs=2)
    first, second = 2 * (3 * 7 + 5), 2 * 7
    assert order.total == first + second
    counts = Counter(visit.index for visit in order.visits(0, first))
    assert counts == {**dict.fromkeys(range(7), 6), **dict.fromkeys(range(7, 12), 2)}
    assert Counter(visit.index for visit in order.visits(first, order.total)) == dict.fromkeys(range(7), 2)
    # beyond the end the last phase goes round again
    assert Counter(visit.index for visit in order.visits(order.total, order.total + 7)) == dict.fromkeys(range(7), 1)
