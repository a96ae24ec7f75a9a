"""The noun-phrase filter: phrases by real `noun_chunks`, and a pool that follows from the captions alone."""

import itertools
import os
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgic.errors import InputError
from mmgic.noun_phrases.extract import (
    MAX_CHARACTERS,
    ExtractPhrases,
    load_pipeline,
    phrase_id,
    phrases_of,
    pipeline_files,
)
from mmgic.noun_phrases.pool import (
    SelectRows,
    add_counts,
    caption_hashes,
    count_phrases,
    crowded_phrases,
    make_pool,
    merge_smallest,
    smallest_hashes,
)
from mmgic.presets import preset
from mmgic.schema import KEPT, PHRASES
from mmgic.settings import PhraseSettings
from mmgic.stages.rows import blank_row

PIPELINE = PhraseSettings().pipeline
CAPTIONS = {
    "A woman holding a baby in a chair at the beach.": ["woman", "baby", "chair", "beach"],
    "The two brown dogs and my cat sleep on an old wooden table.": ["two brown dogs", "cat", "old wooden table"],
    "A man wearing sunglasses rides his red bike past the red bike.": ["man", "sunglasses", "red bike"],
    "A photo of the small red wooden chair and a man.": ["photo", "small red wooden chair", "man"],
    "A white cup in a red box and a white cup in a room.": ["white cup", "red box", "room"],
    "": [],
}


def test_phrases_are_lower_case_without_determiners_and_once() -> None:
    assert list(phrases_of(load_pipeline(PIPELINE), CAPTIONS)) == list(CAPTIONS.values())


def test_the_paper_and_the_toy_world_use_one_pipeline_with_only_what_noun_chunks_need() -> None:
    assert {preset(name).phrases.pipeline for name in ("mmgic-ic-7b", "toy-all")} == {PIPELINE} == {"en_core_web_sm"}
    assert set(load_pipeline(PIPELINE).pipe_names) == {"tok2vec", "tagger", "parser", "attribute_ruler"}
    assert any(file.endswith("parser/model") for file in pipeline_files(PIPELINE))


def test_determiner_inside_a_gold_parse_is_not_stripped() -> None:
    from spacy.tokens import Doc

    from mmgic.noun_phrases.extract import _phrase

    nlp = load_pipeline(PIPELINE)
    words = ["All", "the", "Red  Cars", "are", "mine"]
    doc = Doc(
        nlp.vocab,
        words=words,
        tags=["PDT", "DT", "NNS", "VBP", "PRP"],
        pos=["DET", "DET", "NOUN", "AUX", "PRON"],
        deps=["predet", "det", "nsubj", "ROOT", "attr"],
        heads=[2, 2, 3, 3, 3],
    )
    assert [_phrase(chunk) for chunk in doc.noun_chunks] == ["red cars", "mine"]


def test_missing_or_unfit_pipelines_are_named(tmp_path: Path) -> None:
    import spacy

    with pytest.raises(InputError, match=r"'en_core_web_xx' is not installed; run 'python -m spacy download en_core"):
        load_pipeline("en_core_web_xx")
    with pytest.raises(InputError, match="is not a spaCy pipeline"):
        load_pipeline(str(tmp_path))
    spacy.blank("en").to_disk(tmp_path / "blank")
    with pytest.raises(InputError, match="finds no noun chunks"):
        load_pipeline(str(tmp_path / "blank"))
    assert all(os.path.isfile(file) for file in pipeline_files(PIPELINE))


def row(number: int, source: str = "blip", **columns: object) -> dict:
    blank = {**blank_row(PHRASES), "row_id": number, "source": source, "image_id": str(number)}
    return {**blank, **KEPT, **columns}


def test_each_source_has_its_own_caption_and_others_pass() -> None:
    extract = ExtractPhrases(PIPELINE, {"blip": "caption_coco", "caps": "caption_capsfusion"})
    texts = {"caption_coco": "A red car.", "caption_capsfusion": "A blue bus and a blue bus."}
    rows = [
        row(1, "blip", **texts),
        row(2, "caps", **texts),
        row(3, "journeydb", **texts),
        row(4, "blip", caption_coco="a" * (MAX_CHARACTERS + 1)),
    ]
    results = extract(rows)
    assert [result["phrases"] for result in results] == [["red car"], ["blue bus"], [], []]
    assert results[1]["phrase_ids"] == [phrase_id("blue bus")]
    assert [result["reason"] for result in results] == ["", "", "", "bad_record"]
    selected = SelectRows(make_pool(*pool_inputs([], PhraseSettings()), PhraseSettings(), 0), ["blip", "caps"])(results)
    assert [result["reason"] for result in selected[:3]] == ["phrases_not_selected"] * 2 + [""]


Corpus = list[list[int]]  # phrases of each caption; a caption's row_id is its position


def pool_inputs(corpus: Corpus, limits: PhraseSettings, seed: int = 0, cuts: tuple[int, ...] = ()) -> tuple:
    """Counts and smallest hashes of a corpus that is cut into parts at `cuts`."""
    edges = [0, *sorted(cuts), len(corpus)]
    parts = [(range(a, b), corpus[a:b]) for a, b in itertools.pairwise(edges)]
    flat = [
        (np.array([p for c in cs for p in c], np.uint64), np.repeat(np.array(list(rows), np.int64), [*map(len, cs)]))
        for rows, cs in parts
    ]
    counts = add_counts(count_phrases(ids) for ids, _ in flat)
    crowded = crowded_phrases(counts, limits)
    smallest = []
    for ids, rows in flat:
        chosen = np.isin(ids, crowded)
        hashes = caption_hashes(seed, ids[chosen], rows[chosen])
        smallest.append(smallest_hashes(ids[chosen], hashes, limits.captions_per_phrase))
    return counts, merge_smallest(smallest, limits.captions_per_phrase)


def drawn(corpus: Corpus, limits: PhraseSettings, seed: int = 0, cuts: tuple[int, ...] = ()) -> set[int]:
    pool = make_pool(*pool_inputs(corpus, limits, seed, cuts), limits, seed)
    lengths = np.array([len(c) for c in corpus], np.int64)
    ids = np.array([p for c in corpus for p in c], np.uint64)
    return set(np.flatnonzero(pool.draws(np.arange(len(corpus)), lengths, ids)).tolist())


def published_procedure(corpus: Corpus, limits: PhraseSettings, seed: int) -> set[int]:
    """G.2 in its own words: from the rarest phrase up, all captions of a phrase, or a random few of them."""
    captions_of = defaultdict(list)
    for caption, phrases in enumerate(corpus):
        for phrase in phrases:
            captions_of[phrase].append(caption)
    frequency = Counter({phrase: len(members) for phrase, members in captions_of.items()})
    pool: set[int] = set()
    for phrase, number in sorted(frequency.items(), key=lambda item: item[1]):
        members = captions_of[phrase]
        if number < limits.min_count:
            continue
        if number > limits.captions_per_phrase:
            ids = np.full(number, phrase, np.uint64)
            order = np.argsort(caption_hashes(seed, ids, np.array(members)))
            members = [members[i] for i in order[: limits.captions_per_phrase]]
        pool.update(members)
    return pool


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 12), unique=True, max_size=5), max_size=60),
    st.integers(1, 6),
    st.integers(1, 8),
    st.integers(0, 3),
    st.lists(st.integers(0, 60), max_size=3),
)
def test_pool_is_that_of_the_published_procedure_however_captions_are_cut(
    corpus: Corpus, min_count: int, cap: int, seed: int, cuts: list[int]
) -> None:
    limits = PhraseSettings(min_count=min_count, captions_per_phrase=cap)
    inside = tuple(min(cut, len(corpus)) for cut in cuts)
    expected = published_procedure(corpus, limits, seed)
    assert drawn(corpus, limits, seed, inside) == expected
    assert drawn(corpus, limits, seed) == expected


def test_seed_chooses_other_captions_evenly() -> None:
    corpus = [[1]] * 1000
    limits = PhraseSettings(min_count=20, captions_per_phrase=50)
    draws = [drawn(corpus, limits, seed) for seed in range(40)]
    assert {len(draw) for draw in draws} == {50}
    assert len({frozenset(draw) for draw in draws}) == 40
    # 2,000 draws over 10 tenths of the captions: 200 each, standard deviation 13
    tenths = Counter(caption // 100 for draw in draws for caption in draw)
    assert all(140 <= tenths[tenth] <= 260 for tenth in range(10))


def test_many_waiting_parts_are_merged_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmgic.noun_phrases.pool.PENDING", 8)
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 50, 3000).astype(np.uint64)
    hashes = rng.integers(0, 1 << 60, 3000).astype(np.uint64)
    parts = [slice(i, i + 7) for i in range(0, 3000, 7)]
    whole, merged = count_phrases(ids), add_counts(count_phrases(ids[part]) for part in parts)
    assert all(np.array_equal(a, b) for a, b in zip(whole, merged, strict=True))
    whole = smallest_hashes(ids, hashes, 4)
    merged = merge_smallest((smallest_hashes(ids[part], hashes[part], 4) for part in parts), 4)
    assert all(np.array_equal(a, b) for a, b in zip(whole, merged, strict=True))
    assert Counter(whole[0].tolist()) == Counter(dict.fromkeys(range(50), 4))
