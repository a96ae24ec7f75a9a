import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mmgic.stages.sampling import draw_sample, ranks, sample_key

IDS = st.lists(st.integers(-(2**63), 2**63 - 1), unique=True, max_size=60)


@given(ids=IDS, size=st.integers(0, 70), cuts=st.lists(st.integers(0, 60), max_size=4), seed=st.integers(0, 5))
def test_the_sample_is_exact_whatever_the_batches(ids, size, cuts, seed):
    key = sample_key(seed, "x")
    array = np.array(ids, np.int64)
    sample = draw_sample(np.split(array[::-1], sorted(c for c in cuts if c <= len(ids))), size, key)
    assert sample == draw_sample([array], size, key)
    groups = [sample.group(i) for i in ids]
    taken = min(size, len(ids))
    assert (sample.rows, sample.size) == (len(ids), taken)
    assert (groups.count(0), groups.count(1), groups.count(None)) == (
        taken // 2,
        taken - taken // 2,
        len(ids) - taken,
    )


def test_ranks_are_one_to_one_and_other_seeds_draw_others():
    ids = np.arange(-50_000, 50_000)
    assert len(np.unique(ranks(ids, sample_key(0, "x")))) == len(ids)
    drawn = [
        {i for i in range(1000) if draw_sample([np.arange(1000)], 100, sample_key(seed, "x")).group(i) is not None}
        for seed in (0, 1)
    ]
    assert len(drawn[0] & drawn[1]) < 40


def test_a_smaller_sample_is_a_part_of_a_larger_one():
    key = sample_key(0, "x")
    small, large = (draw_sample([np.arange(1000)], size, key) for size in (100, 300))
    assert all(large.group(i) is not None for i in range(1000) if small.group(i) is not None)


def test_splitmix64_by_hand():
    """The first outputs of SplitMix64 seeded with 0 and 1."""
    assert ranks(np.array([0, 1]), 0).tolist() == [0xE220A8397B1DCDAF, 0x910A2DEC89025CC1]
