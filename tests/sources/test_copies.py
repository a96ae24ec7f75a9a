"""Which of equal records stays, whatever the batches and their order."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgic.sources.captions.pairs import captioned_image
from mmgic.sources.copies import ENTRY, RejectCopies, later_copies, later_copies_on_disk, url_content, url_entries

RANKS = {"blip": 0, "capsfusion": 1}
urls = st.sampled_from(["http://x.test/1", "https://x.test/1", "http://x.test/2", "http://y.test/1"])
records = st.lists(st.tuples(st.sampled_from(["blip", "capsfusion", "journeydb"]), urls, st.booleans()), max_size=20)


def rows_of(found):
    rows = [captioned_image(source, str(i), 0, url=url, keep=keep) for i, (source, url, keep) in enumerate(found)]
    return [{name: row[name] for name in ("row_id", "source", "url", "keep")} for row in rows]


@settings(deadline=None)
@given(records, st.integers(1, 20), st.randoms(use_true_random=False))
def test_the_first_source_keeps_an_image(found, size, random):
    rows = rows_of(found)
    random.shuffle(rows)
    batches = [pa.Table.from_pylist(rows[i : i + size]) for i in range(0, len(rows), size)]
    copies = later_copies_on_disk(url_entries(batch, RANKS) for batch in batches)
    reject = RejectCopies(copies, "a copy")
    expected: dict[int, tuple] = {}  # by content, the record that stays
    for row in rows:
        if row["keep"] and row["source"] in RANKS:
            key = (RANKS[row["source"]], row["row_id"])
            expected[url_content(row["url"])] = min(expected.get(url_content(row["url"]), key), key)
    stay = {row_id for _, row_id in expected.values()}
    for row in rows:
        if row["keep"] and row["source"] in RANKS:
            assert reject(row)["keep"] == (row["row_id"] in stay)
        else:
            assert reject(row) == row


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 3)), max_size=60), st.integers(0, 60))
def test_partitions_on_disk_change_nothing(found, cut):
    entries = np.array([(content * 7919, rank, i) for i, (content, rank) in enumerate(found)], ENTRY)
    assert np.array_equal(later_copies_on_disk([entries[:cut], entries[cut:]]), later_copies(entries))


@pytest.mark.parametrize(
    "same",
    [
        ("http://x.test/a", "https://x.test/a", "http://X.TEST:80/a", "https://x.test:443/a#part"),
        ("http://x.test", "http://x.test/", "https://x.test/#"),
        ("http://x.test/a?b=1", "https://x.test/a?b=1#c"),
    ],
)
def test_one_image_has_several_urls(same):
    assert len(set(map(url_content, same))) == 1


def test_other_urls_are_other_images():
    others = ["a", "A", "a/", "a?b", "a?B", "a%20", "b"]
    odd = [
        "http://[x",
        "http://x.test:99999/a",
        "http://x.test:8080/a",
        "http://user@x.test:1/a",
        "https://é.test/\ufffd",
    ]
    contents = list(map(url_content, [*(f"http://x.test/{path}" for path in others), *odd]))
    assert len(set(contents)) == len(contents)
