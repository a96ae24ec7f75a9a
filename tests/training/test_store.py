"""The token store: round trips, an order that no file boundary touches, memory mapping, and what is refused."""

import pickle
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mmgic.errors import InputError
from mmgic.schema import DOCUMENT, KEPT, reject
from mmgic.stages import tables
from mmgic.training.store import SourceCounts, TokenStore, build_store, write


def document(row_id, ids, *, repeat=0, corpus="mmgic", source="toy", template="image_first", spans=(), verdict=KEPT):
    return {
        "row_id": row_id,
        "source": source,
        "image_id": str(row_id),
        "repeat": repeat,
        "corpus": corpus,
        "template": template,
        "with_descriptions": False,
        "text": "",
        "input_ids": list(ids),
        "answer_spans": [list(span) for span in spans],
        "num_visual_tokens": sum(i >= 10 for i in ids),
        "num_text_tokens": sum(i < 10 for i in ids),
        "num_regions": 0,
        **verdict,
    }


def write_documents(folder, *files):
    folder.mkdir()
    for number, rows in enumerate(files):
        pq.write_table(pa.Table.from_pylist(list(rows), schema=DOCUMENT), folder / f"part-{number}.parquet")
    return folder


def contents(store):
    return [
        (s.row_id, s.repeat, s.template, s.tokens.tolist(), s.answer_spans)
        for s in (store.sample(i) for i in range(len(store)))
    ]


def test_samples_come_back_in_canonical_order_and_counted(tmp_path):
    first = write_documents(
        tmp_path / "a",
        [document(5, [1, 12, 2]), document(-7, [1, 2], source="vg", template="text_first")],
        [document(9, [1], verdict=reject("too_long")), document(5, [4], repeat=1)],
    )
    second = write_documents(
        tmp_path / "b", [document(3, [1, 3, 2], corpus="vqa", template="question", spans=[(1, 3)])]
    )
    manifest = build_store([second, first], tmp_path / "store", 20)
    store = TokenStore(tmp_path / "store")
    assert contents(store) == [
        (-7, 0, "text_first", [1, 2], []),
        (5, 0, "image_first", [1, 12, 2], []),
        (5, 1, "image_first", [4], []),
        (3, 0, "question", [1, 3, 2], [[1, 3]]),
    ]
    assert store.manifest == manifest
    assert (manifest.samples, manifest.tokens) == (4, 9)
    assert store.corpora == ["mmgic", "vqa"]
    assert (store.corpus_indices("mmgic"), store.corpus_indices("vqa")) == (range(3), range(3, 4))
    assert store.corpus_indices("ic") == range(0)
    assert manifest.corpora["mmgic"].sources == {"toy": SourceCounts(2, 1, 3), "vg": SourceCounts(1, 0, 2)}
    assert store.lengths([3, 0, 1]).tolist() == [3, 2, 3]
    with pytest.raises(IndexError):
        store.sample(4)


@given(
    keys=st.lists(
        st.tuples(st.sampled_from(["ic", "mmgic"]), st.integers(-(2**63), 2**63 - 1), st.integers(0, 2)),
        unique=True,
        min_size=1,
        max_size=30,
    ),
    cuts=st.lists(st.integers(0, 30), max_size=4),
    seed=st.integers(0, 99),
    shard_bytes=st.sampled_from([1, 300, 1 << 27]),
)
@hypothesis_settings(max_examples=40, deadline=None)
def test_the_order_does_not_depend_on_files_or_shards(tmp_path_factory, keys, cuts, seed, shard_bytes):
    folder = tmp_path_factory.mktemp("store")
    rows = [document(r, [n % 20, *range(n % 4)], corpus=c, repeat=k) for n, (c, r, k) in enumerate(keys)]
    shuffled = [rows[i] for i in np.random.default_rng(seed).permutation(len(rows))]
    borders = [0, *sorted(cuts), len(rows)]
    files = [shuffled[a:b] for a, b in pairwise(borders)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "SHARD_BYTES", shard_bytes)
        build_store([write_documents(folder / "cut", *files)], folder / "x", 20)
    build_store([write_documents(folder / "whole", rows)], folder / "y", 20)
    ordered = sorted(rows, key=lambda row: (row["corpus"], row["row_id"], row["repeat"]))
    expected = [(r["row_id"], r["repeat"], r["template"], r["input_ids"], []) for r in ordered]
    assert contents(TokenStore(folder / "x")) == contents(TokenStore(folder / "y")) == expected


@given(
    kinds=st.lists(
        st.tuples(
            st.sampled_from(["mmc4", "pages"]),
            st.sampled_from(["interleaved", "interleaved", "image_first"]),
            st.integers(-(2**63), 2**63 - 1),
            st.integers(1, 12),
        ),
        unique_by=lambda kind: kind[2],
        min_size=1,
        max_size=40,
    ),
    join_tokens=st.integers(0, 30),
    shard_bytes=st.sampled_from([1, 300]),
)
@hypothesis_settings(max_examples=60, deadline=None)
def test_web_pages_are_joined_as_long_as_they_fit(tmp_path_factory, kinds, join_tokens, shard_bytes):
    folder = tmp_path_factory.mktemp("store")
    rows = [document(r, [n % 20] * length, corpus=c, template=t) for n, (c, t, r, length) in enumerate(kinds)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "SHARD_BYTES", shard_bytes)
        manifest = build_store([write_documents(folder / "a", rows)], folder / "x", 20, join_tokens)
    store = TokenStore(folder / "x")
    assert (len(store), manifest.tokens) == (manifest.samples, sum(length for *_, length in kinds))
    for corpus in store.corpora:
        indices = store.corpus_indices(corpus)
        samples = [store.sample(i) for i in indices]
        assert store.lengths(indices).tolist() == [len(sample.tokens) for sample in samples]
        expected = [row for row in rows if row["corpus"] == corpus]
        expected.sort(key=lambda row: (row["template"] != "interleaved", row["row_id"]))
        for sample, following in zip(samples, [*samples[1:], None], strict=True):
            first, *_ = joined = _take(expected, sample.tokens.tolist())
            assert (sample.row_id, sample.template, sample.answer_spans) == (first["row_id"], first["template"], [])
            if len(joined) > 1:
                assert {row["template"] for row in joined} == {"interleaved"}
                assert len(sample.tokens) <= join_tokens
            if following and sample.template == following.template == "interleaved":
                assert len(sample.tokens) + len(expected[0]["input_ids"]) > join_tokens
        assert not expected


def _take(rows, tokens):
    """Takes off `rows` those whose ids, one after the other, are `tokens`."""
    taken = []
    while sum(len(row["input_ids"]) for row in taken) < len(tokens):
        taken.append(rows.pop(0))
    assert [token for row in taken for token in row["input_ids"]] == tokens
    return taken


@pytest.mark.parametrize(("size", "dtype"), [(48386, np.uint16), (65535, np.uint16), (65536, np.uint32)])
def test_token_width_follows_the_vocabulary(tmp_path, size, dtype):
    ids = [0, 1, size - 1]
    build_store([write_documents(tmp_path / "a", [document(1, ids)])], tmp_path / "store", size)
    tokens = TokenStore(tmp_path / "store").sample(0).tokens
    assert (tokens.dtype, tokens.tolist()) == (dtype, ids)


def test_tokens_are_views_of_the_file_and_the_store_travels_by_its_folder(tmp_path):
    rows = [document(i, range(1000)) for i in range(1000)]
    build_store([write_documents(tmp_path / "a", rows)], tmp_path / "store", 2000)
    store = TokenStore(tmp_path / "store")
    before = pa.total_allocated_bytes()
    tokens = [store.sample(i).tokens for i in range(len(store))]
    assert pa.total_allocated_bytes() - before < 100_000  # of 2 MB of tokens
    assert not tokens[0].flags.owndata
    assert not tokens[0].flags.writeable
    pickled = pickle.dumps(store)
    assert len(pickled) < 1000
    assert contents(pickle.loads(pickled))[:2] == contents(store)[:2]


def test_a_finished_store_of_the_same_tables_is_kept_and_another_replaced(tmp_path):
    documents = write_documents(tmp_path / "a", [document(1, [1, 2])], [document(2, [3])])
    for fingerprint, join_tokens, is_kept in (
        ("one", 0, False),
        ("one", 0, True),
        ("one", 9, False),
        ("two", 9, False),
    ):
        tables.write_manifest(str(documents), tables.Manifest("documents", fingerprint, 2, 2, 2, {}, {}, {}, 0.0))
        shard = tmp_path / "store" / "shard-00000.arrow"
        before = shard.stat().st_mtime_ns if shard.exists() else 0
        manifest = build_store([documents], tmp_path / "store", 20, join_tokens)
        assert (shard.stat().st_mtime_ns == before) is is_kept
        assert manifest.inputs == [fingerprint]


def test_unusable_input_is_one_sentence(tmp_path):
    good = write_documents(tmp_path / "good", [document(1, [1, 2])])
    none_kept = write_documents(tmp_path / "none", [document(1, [], verdict=reject("too_long"))])
    unfinished = write_documents(tmp_path / "unfinished", [document(1, [1])])
    (unfinished / "settings.yaml").write_text("stage: documents\n")
    outside = write_documents(
        tmp_path / "outside", [document(1, [1, 2]), document(7, [1, 2, 3], spans=[(0, 1), (2, 4)])]
    )
    for documents, size, message in (
        ([outside], 20, "row_id 7 has an answer at tokens 2 to 4 of 3; build the documents again"),
        ([tmp_path / "missing"], 20, "holds no table"),
        ([none_kept], 20, "no document was kept"),
        ([unfinished], 20, "is not finished"),
        ([good], 2, "token ids from 1 to 2 but the vocabulary has 2"),
        ([good, good], 20, "1 documents are there twice .first: mmgic, row_id 1, repeat 0"),
    ):
        with pytest.raises(InputError, match=message):
            build_store(documents, tmp_path / "store", size)
        with pytest.raises(InputError, match="no finished token store"):
            TokenStore(tmp_path / "store")


def test_a_damaged_store_says_what_is_missing(tmp_path):
    folder = tmp_path / "store"
    documents = write_documents(tmp_path / "a", [document(i, [1, 2]) for i in range(9)])
    for name in ("shard-00000.arrow", "locations.npy", "starts.npy"):
        build_store([documents], folder, 20)
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])
        with pytest.raises(InputError, match=f"damaged: {name}"):
            TokenStore(folder).sample(0)
        (folder / name).unlink()
        with pytest.raises(InputError, match=f"damaged: {name}"):
            TokenStore(folder).sample(0)
    (folder / "store.json").write_text("[]")
    with pytest.raises(InputError, match="not a token store of this version"):
        TokenStore(folder)
