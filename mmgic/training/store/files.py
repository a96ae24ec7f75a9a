"""What a token store is on disk. The folder is local, as its files are memory-mapped.

    shard-00000.arrow ...   one record batch each, documents in the order in which they were read
    locations.npy           int64 [documents]: document -> position over all shards
    starts.npy              int64 [samples + 1]: sample -> its first document; the last number is that of all documents
    lengths.npy             int32 [samples]: tokens of each sample
    store.json              written last: the store is finished if and only if it is there

Documents are numbered in the order of (corpus, row_id, repeat), web pages of a corpus before its others, so a number
does not depend on how the documents were split into files. A sample is a document, or as many web pages one after the
other as fit into `join_tokens` (C.6); a row_id is a hash, so what is joined is as good as shuffled. A corpus is a range
of samples.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmgic.documents.folders import documents_folder
from mmgic.errors import InputError
from mmgic.files import read_text, staged
from mmgic.paths import absolute, is_local
from mmgic.settings import Settings

MANIFEST = "store.json"
LOCATIONS = "locations.npy"
STARTS = "starts.npy"
LENGTHS = "lengths.npy"


def store_folder(settings: Settings) -> Path:
    """Where the token store of a run's recipe lies. Raises InputError if the output is no folder of a disk."""
    if not is_local(settings.output):
        raise InputError(
            f"'output' is {settings.output}; the token store is memory-mapped: set it to a folder on a disk"
        )
    return Path(absolute(settings.output)) / documents_folder("store", settings.documents, of_recipe=True)


def store_place(settings: Settings) -> str:
    """Where the token store that a run is trained on lies: `training.store`, or else the run's own."""
    return settings.training.store or str(store_folder(settings))


def local_store(settings: Settings) -> Path:
    """The folder of `store_place` on this machine, to which a store at a url is copied once.

    Raises InputError if there is no finished store.
    """
    place = store_place(settings)
    if is_local(place):
        return Path(absolute(place))
    read_store_manifest(place)
    return staged(place)


def shard_path(folder: Path, number: int) -> Path:
    return folder / f"shard-{number:05d}.arrow"


@dataclass(frozen=True)
class SourceCounts:
    documents: int
    visual_tokens: int
    text_tokens: int


@dataclass(frozen=True)
class CorpusCounts:
    """Samples `start` to `stop` (exclusive) are this corpus; what of it comes from which source."""

    start: int
    stop: int
    sources: dict[str, SourceCounts]


@dataclass(frozen=True)
class StoreManifest:
    """What a finished store holds. `inputs` are the fingerprints of the document tables that it was made from; 0
    `join_tokens` join nothing."""

    vocabulary_size: int
    samples: int
    tokens: int
    corpora: dict[str, CorpusCounts]
    shard_documents: list[int]
    inputs: list[str]
    join_tokens: int


def read_store_manifest(folder: str | Path) -> StoreManifest:
    """Raises InputError if `folder` holds no finished store."""
    path = f"{folder}/{MANIFEST}"
    try:
        text = read_text(path)
    except UnicodeDecodeError:
        text = ""
    if text is None:
        raise InputError(f"{folder} holds no finished token store; run `mmgic build` first")
    try:
        fields: dict[str, Any] = json.loads(text)
        corpora = {
            name: CorpusCounts(
                counts["start"],
                counts["stop"],
                {source: SourceCounts(**numbers) for source, numbers in counts["sources"].items()},
            )
            for name, counts in fields.pop("corpora").items()
        }
        return StoreManifest(corpora=corpora, **fields)
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError):
        raise InputError(f"{path} is not a token store of this version; delete {folder} and build it again") from None
