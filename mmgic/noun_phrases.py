"""Noun phrases of captions, and the captions that they draw (Appendix G.2, as LLaVA balances its captions).

A phrase is a noun chunk of spaCy, lower-cased, without leading determiners and possessive pronouns; a caption counts it
once. Phrases of fewer than `min_count` captions draw nothing. Any other draws all of its captions or, where there are
more, the `captions_per_phrase` of them with the smallest hash of seed, phrase and caption; the pool is the union. So
the pool follows from the captions alone: counts add up and smallest hashes merge, in any order and grouping.

Phrases are told apart by 64-bit hashes. Memory grows with distinct phrases, not with captions: 16 bytes a phrase while
counting, and 8 more for each hash (at most `captions_per_phrase`) of those that are frequent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mmgic.errors import InputError
from mmgic.schema import CAPTIONED_IMAGE, reject
from mmgic.settings import PhraseSettings
from mmgic.transform import Row

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Span

# The caption that a source's phrases come from; the filter applies to no other format (G.2).
CAPTION_OF = {"blip_captions": "caption_coco", "capsfusion": "caption_capsfusion"}

NEEDED = ("tok2vec", "transformer", "tagger", "morphologizer", "attribute_ruler", "parser")  # by `noun_chunks`
LEADING = ("DT", "PDT", "WDT", "PRP$", "WP$")  # Penn tags of determiners and possessive pronouns
MAX_CHARACTERS = 10_000  # of a caption: what a parser takes without much memory
BATCH = 256  # captions that spaCy parses together
PENDING = 1 << 22  # entries that wait to be merged, at least

PHRASES = pa.schema(
    [
        *CAPTIONED_IMAGE,
        pa.field("phrases", pa.list_(pa.string())),  # each once, in the order of the caption
        pa.field("phrase_ids", pa.list_(pa.uint64())),  # `phrase_id` of each
    ]
)

Ids = np.ndarray[Any, np.dtype[np.uint64]]
Part = tuple[np.ndarray, np.ndarray]  # phrase ids (uint64) and, for each, a count (int64) or a hash (uint64)

# ---------------------------------------------------------------- extraction


def load_pipeline(name: str) -> Language:
    """The spaCy pipeline `name` (an installed package or a folder) with only what `noun_chunks` needs switched on.

    Raises InputError where spaCy or the pipeline is missing, or where it cannot find noun chunks.
    """
    try:
        import spacy
    except ImportError:
        raise InputError("the noun-phrase filter needs spaCy; install it with pip install 'mmgic[phrases]'") from None
    try:
        nlp = spacy.load(name)
    except (OSError, ValueError) as error:
        if Path(name).is_dir():
            raise InputError(f"{name} is not a spaCy pipeline ({str(error).splitlines()[0]})") from None
        raise InputError(
            f"the spaCy pipeline '{name}' is not installed; run 'python -m spacy download {name}', or set "
            "phrases.pipeline to another one or to a pipeline's folder"
        ) from None
    needed = [pipe for pipe in nlp.pipe_names if nlp.get_pipe_meta(pipe).factory in NEEDED]
    if "parser" not in needed or nlp.vocab.get_noun_chunks is None:
        raise InputError(
            f"the spaCy pipeline '{name}' finds no noun chunks: it needs a 'parser' and a language with noun chunks, "
            "such as en_core_web_sm has"
        )
    nlp.select_pipes(enable=needed)
    return nlp


def pipeline_files(name: str) -> list[str]:
    """The files of a pipeline that may decide about its phrases. Raises InputError where there is no pipeline."""
    folder = load_pipeline(name).path
    assert folder is not None  # of what was loaded from disk
    return sorted(str(file) for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts)


def phrases_of(nlp: Language, captions: Iterable[str]) -> Iterator[list[str]]:
    """The noun phrases of each caption, each once, in the caption's order."""
    for doc in nlp.pipe(captions, batch_size=BATCH):
        yield list(dict.fromkeys(filter(None, map(_phrase, doc.noun_chunks))))


def _phrase(chunk: Span) -> str:
    doc, start, end = chunk.doc, chunk.start, chunk.end
    while start < end and doc[start].tag_ in LEADING:
        start += 1
    return " ".join(doc[start:end].text.lower().split())


def phrase_id(phrase: str) -> int:
    """64 bits that stand for a phrase: among 10 M phrases, two have the same ones with probability 3e-6."""
    return int.from_bytes(hashlib.blake2b(phrase.encode(), digest_size=8).digest(), "little")


class ExtractPhrases:
    """The transform of the phrases stage: `phrases` and `phrase_ids` of every caption that the filter applies to.

    `columns` maps the sources that are filtered to the column of their caption; rows of others have no phrases.
    """

    def __init__(self, pipeline: str, columns: dict[str, str]) -> None:
        self.nlp = load_pipeline(pipeline)
        self.columns = columns

    def __call__(self, rows: list[Row]) -> list[Row]:
        captions = [row[self.columns[row["source"]]] if row["source"] in self.columns else "" for row in rows]
        short = (caption if len(caption) <= MAX_CHARACTERS else "" for caption in captions)
        found = zip(rows, captions, phrases_of(self.nlp, short), strict=True)
        return [
            {**row, "phrases": phrases, "phrase_ids": [phrase_id(phrase) for phrase in phrases]}
            if len(caption) <= MAX_CHARACTERS
            else {**row, **reject("bad_record", f"a caption of {len(caption):,} characters")}
            for row, caption, phrases in found
        ]


# ---------------------------------------------------------------- counting and drawing


def count_phrases(ids: Ids) -> Part:
    """Distinct phrases among `ids`, ascending, and how often each occurs."""
    distinct, counts = np.unique(ids, return_counts=True)
    return distinct, counts


def add_counts(parts: Iterable[Part]) -> Part:
    """The sum of what `count_phrases` gave for parts of the captions."""
    return _merged(parts, _summed)


def caption_hashes(seed: int, ids: Ids, row_ids: np.ndarray) -> Ids:
    """The hash (uint64) of seed, phrase and caption for each pair of `ids` and `row_ids` [N]."""
    captions = _mix(row_ids.astype(np.int64).view(np.uint64) ^ _mix(np.array([seed], np.int64).view(np.uint64)))
    return _mix(ids ^ captions)


def smallest_hashes(ids: Ids, hashes: Ids, number: int) -> Part:
    """For each phrase its `number` smallest hashes (or all, where it has fewer), ordered by phrase and hash."""
    order = np.lexsort((hashes, ids))
    ids, hashes = ids[order], hashes[order]
    starts = _starts(ids)
    lengths = np.diff(np.append(starts, len(ids)))
    chosen = np.arange(len(ids)) - np.repeat(starts, lengths) < number
    return ids[chosen], hashes[chosen]


def merge_smallest(parts: Iterable[Part], number: int) -> Part:
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


def crowded_phrases(counts: Part, settings: PhraseSettings) -> Ids:
    """The phrases that draw some of their captions only, ascending: those whose smallest hashes a pool needs."""
    ids, numbers = counts
    return ids[(numbers >= settings.min_count) & (numbers > settings.captions_per_phrase)]


def make_pool(counts: Part, smallest: Part, settings: PhraseSettings, seed: int) -> Pool:
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

    def __call__(self, rows: list[Row]) -> list[Row]:
        filtered = [i for i, row in enumerate(rows) if row["source"] in self.sources]
        row_ids = np.array([rows[i]["row_id"] for i in filtered], np.int64)
        lengths = np.array([len(rows[i]["phrase_ids"]) for i in filtered], np.int64)
        ids = np.array([id_ for i in filtered for id_ in rows[i]["phrase_ids"]], np.uint64)
        drawn = self.pool.draws(row_ids, lengths, ids)
        results = list(rows)
        for i, keep in zip(filtered, drawn.tolist(), strict=True):
            if not keep:
                results[i] = {**rows[i], **reject("phrases_not_selected")}
        return results


def _merged(parts: Iterable[Part], compact: Callable[[np.ndarray, np.ndarray], Part]) -> Part:
    """All `parts` as one. Waiting parts are compacted once they outgrow the result, so memory stays a few results."""
    merged: Part = (np.empty(0, np.uint64), np.empty(0, np.uint64))
    waiting: list[Part] = []
    size = 0

    def join() -> Part:
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


def _summed(ids: np.ndarray, counts: np.ndarray) -> Part:
    order = np.argsort(ids)
    ids, counts = ids[order], counts[order]
    starts = _starts(ids)
    return ids[starts], np.add.reduceat(counts, starts)


def _starts(ids: np.ndarray) -> np.ndarray:
    """Where each run of equal ids begins."""
    return np.flatnonzero(np.append(True, ids[1:] != ids[:-1]))[: len(ids)]


def _mix(bits: np.ndarray) -> Ids:
    """The finalizer of SplitMix64: a one-to-one scramble of 64 bits."""
    bits = bits + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
