"""From document tables to a token store."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc

from mmgic.errors import InputError, about
from mmgic.files import read_text, write_text
from mmgic.paths import absolute
from mmgic.stages import tables
from mmgic.stages.progress import counted
from mmgic.training.store.files import (
    LENGTHS,
    LOCATIONS,
    MANIFEST,
    STARTS,
    CorpusCounts,
    SourceCounts,
    StoreManifest,
    read_store_manifest,
    shard_path,
)

SHARD_BYTES = 1 << 27
ROWS_AT_ONCE = 1024  # documents read at a time: about 8 MiB
KEY = np.dtype([("corpus", "i2"), ("alone", "?"), ("row_id", "i8"), ("repeat", "i4"), ("length", "i4")])


def build_store(
    documents: Sequence[str | Path], folder: str | Path, vocabulary_size: int, join_tokens: int = 0
) -> StoreManifest:
    """Writes the kept rows of the `schema.DOCUMENT` tables `documents` as a token store in the local `folder`.

    Web pages are joined to samples of at most `join_tokens` tokens (C.6); with 0 each is one of its own. If `folder`
    already holds the store of the same tables, it is left as it is; another store there is replaced. Memory holds one
    shard and about 40 bytes a document. Raises InputError for a table that is missing or unfinished, for token ids
    outside the vocabulary, for a document that is there twice and if nothing was kept.
    """
    with about(folder):
        return _build(documents, Path(folder), vocabulary_size, join_tokens)


def _build(documents: Sequence[str | Path], folder: Path, vocabulary_size: int, join_tokens: int) -> StoreManifest:
    inputs = [_fingerprint(str(table)) for table in documents]
    if all(inputs) and (folder / MANIFEST).exists():
        manifest = read_store_manifest(folder)
        if (manifest.inputs, manifest.vocabulary_size, manifest.join_tokens) == (inputs, vocabulary_size, join_tokens):
            return manifest
    folder.mkdir(parents=True, exist_ok=True)
    for old in [folder / MANIFEST, *folder.glob("shard-*.arrow")]:
        old.unlink(missing_ok=True)

    corpora: list[str] = []
    keys: list[np.ndarray] = []
    counts: dict[tuple[str, str], SourceCounts] = {}
    shard_documents: list[int] = []
    shard: list[pa.Table] = []
    total = sum(tables.open_table(str(table)).count_rows(filter=tables.select()) for table in documents)
    with counted("store", total, "documents") as advance:
        for rows in chain.from_iterable(_kept(str(table)) for table in documents):
            corpora += [name for name in pc.unique(rows["corpus"]).to_pylist() if name not in corpora]
            keys.append(_keys(rows, corpora))
            _count(counts, rows)
            shard.append(_shard_columns(rows, vocabulary_size))
            if sum(part.nbytes for part in shard) >= SHARD_BYTES:
                shard_documents.append(_write_shard(folder, len(shard_documents), shard))
                shard = []
            advance(rows.num_rows)
    if shard:
        shard_documents.append(_write_shard(folder, len(shard_documents), shard))
    if not keys:
        raise InputError(f"no document was kept in {', '.join(map(str, documents))}; their manifests say why")

    start, ranges = 0, {}
    for name, samples in _write_index(folder, np.concatenate(keys), corpora, join_tokens).items():
        sources = {source: value for (corpus, source), value in sorted(counts.items()) if corpus == name}
        ranges[name] = CorpusCounts(start, start + samples, sources)
        start += samples
    manifest = StoreManifest(
        vocabulary_size=vocabulary_size,
        samples=start,
        tokens=sum(count.visual_tokens + count.text_tokens for count in counts.values()),
        corpora=ranges,
        shard_documents=shard_documents,
        inputs=inputs,
        join_tokens=join_tokens,
    )
    write_text(str(folder / MANIFEST), json.dumps(asdict(manifest), indent=2) + "\n")
    return manifest


def _fingerprint(table: str) -> str:
    """The fingerprint of a finished stage's table; "" for a table that no stage made."""
    manifest = tables.read_manifest(table)
    if manifest is None and read_text(f"{absolute(table)}/{tables.SETTINGS}") is not None:
        raise InputError(f"{table} is not finished; run the job that builds it again, it goes on where it was")
    return manifest.fingerprint if manifest else ""


def _kept(table: str) -> Iterator[pa.Table]:
    """The kept rows of a table in small pieces, with memory for a few of them."""
    for batch in tables.open_table(table).to_batches(
        columns=[
            *("row_id", "repeat", "corpus", "source", "template", "input_ids", "answer_spans"),
            *("num_visual_tokens", "num_text_tokens"),
        ],
        filter=tables.select(),
        batch_size=ROWS_AT_ONCE,
        batch_readahead=2,
        fragment_readahead=1,
    ):
        if batch.num_rows:
            yield pa.Table.from_batches([batch])


def _keys(rows: pa.Table, corpora: list[str]) -> np.ndarray:
    keys = np.empty(rows.num_rows, KEY)
    keys["corpus"] = pc.index_in(rows["corpus"], pa.array(corpora)).to_numpy()
    keys["alone"] = pc.not_equal(rows["template"], "interleaved").to_numpy()
    keys["row_id"] = rows["row_id"].to_numpy()
    keys["repeat"] = rows["repeat"].to_numpy()
    keys["length"] = pc.list_value_length(rows["input_ids"]).to_numpy()
    return keys


def _count(counts: dict[tuple[str, str], SourceCounts], rows: pa.Table) -> None:
    """Adds the documents and tokens of `rows` to `counts` by (corpus, source)."""
    groups = rows.group_by(["corpus", "source"]).aggregate(
        [([], "count_all"), ("num_visual_tokens", "sum"), ("num_text_tokens", "sum")]
    )
    for group in groups.to_pylist():
        key = (group["corpus"], group["source"])
        before = counts.get(key, SourceCounts(0, 0, 0))
        counts[key] = SourceCounts(
            before.documents + group["count_all"],
            before.visual_tokens + group["num_visual_tokens_sum"],
            before.text_tokens + group["num_text_tokens_sum"],
        )


def _shard_columns(rows: pa.Table, vocabulary_size: int) -> pa.Table:
    """The columns of a shard; `tokens` is `input_ids` in the narrowest unsigned integers that hold the vocabulary."""
    ids = rows["input_ids"].combine_chunks()
    values = ids.flatten()
    lowest, highest = pc.min_max(values).as_py().values()
    if len(values) and not 0 <= lowest <= highest < vocabulary_size:
        raise InputError(
            f"the documents hold token ids from {lowest} to {highest} but the vocabulary has {vocabulary_size}; build "
            "the documents with the model's own text tokenizer and visual tokenizer"
        )
    _check_spans(rows, pc.list_value_length(ids).to_numpy())
    width = pa.uint16() if vocabulary_size < 1 << 16 else pa.uint32()
    offsets = np.concatenate([[0], np.cumsum(pc.list_value_length(ids).to_numpy())]).astype(np.int32)
    tokens = pa.ListArray.from_arrays(pa.array(offsets), values.cast(width))
    return rows.select(["row_id", "repeat", "corpus", "template", "answer_spans"]).append_column("tokens", tokens)


def _check_spans(rows: pa.Table, lengths: np.ndarray) -> None:
    """Raises InputError for answers that are not inside their documents, of `lengths` tokens."""
    spans = rows["answer_spans"].combine_chunks()
    pairs = spans.flatten().flatten().to_numpy().reshape(-1, 2)
    documents = np.repeat(np.arange(len(lengths)), pc.list_value_length(spans).fill_null(0).to_numpy())
    (wrong,) = np.nonzero((pairs[:, 0] < 0) | (pairs[:, 0] >= pairs[:, 1]) | (pairs[:, 1] > lengths[documents]))
    if len(wrong):
        document, (start, stop) = int(documents[wrong[0]]), pairs[wrong[0]].tolist()
        raise InputError(
            f"the document with row_id {rows['row_id'][document]} has an answer at tokens {start} to {stop} of "
            f"{lengths[document]}; build the documents again"
        )


def _write_shard(folder: Path, number: int, parts: list[pa.Table]) -> int:
    """Writes `parts` as one record batch and returns its number of rows."""
    (batch,) = pa.concat_tables(parts).combine_chunks().to_batches()
    with pa.ipc.new_file(str(shard_path(folder, number)), batch.schema) as file:
        file.write_batch(batch)
    return int(batch.num_rows)


def _write_index(folder: Path, keys: np.ndarray, corpora: list[str], join_tokens: int) -> dict[str, int]:
    """Writes the index files in the order of the samples; returns the number of samples of each corpus, in order."""
    rank = np.argsort(np.argsort(corpora))
    keys["corpus"] = rank[keys["corpus"]]
    order = np.lexsort((keys["repeat"], keys["row_id"], keys["alone"], keys["corpus"]))
    keys = keys[order]
    identity = keys[["corpus", "row_id", "repeat"]]
    (twice,) = np.nonzero(identity[1:] == identity[:-1])
    names = sorted(corpora)
    if len(twice):
        corpus, row_id, repeat = identity[twice[0]].tolist()
        raise InputError(
            f"{len(twice)} documents are there twice (first: {names[corpus]}, row_id {row_id}, repeat {repeat}); "
            "name each table of documents once and give each source its own name"
        )
    starts = _sample_starts(keys, join_tokens)
    np.save(folder / LOCATIONS, order)
    np.save(folder / STARTS, np.append(starts, len(keys)))
    np.save(folder / LENGTHS, np.add.reduceat(keys["length"], starts, dtype=np.int32))
    return dict(zip(names, np.bincount(keys["corpus"][starts]).tolist(), strict=True))


def _sample_starts(keys: np.ndarray, join_tokens: int) -> np.ndarray:
    """The first document of each sample, int64 [samples]: of joined web pages as many as fit, one after the other."""
    if not join_tokens:
        return np.arange(len(keys))
    ends = np.concatenate([[0], np.cumsum(keys["length"], dtype=np.int64)])
    changes = np.flatnonzero(np.diff(2 * keys["corpus"] + keys["alone"])) + 1
    starts = []
    for first, last in pairwise([0, *changes.tolist(), len(keys)]):
        if keys["alone"][first]:
            starts.append(np.arange(first, last))
            continue
        joined, document = [], first
        while document < last:
            joined.append(document)
            fitting = int(np.searchsorted(ends, ends[document] + join_tokens, side="right")) - 1
            document = min(last, max(document + 1, fitting))
        starts.append(np.array(joined))
    return np.concatenate(starts)
