"""Random access to a token store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.ipc

from mmgic.errors import InputError
from mmgic.training.store.files import LENGTHS, LOCATIONS, STARTS, read_store_manifest, shard_path


@dataclass(frozen=True)
class TrainingSample:
    """One document, or joined web pages, of which the first names the sample.

    `tokens` is read-only if it is one document, a view of the store; uint16 [tokens] (uint32 for large vocabularies).
    """

    tokens: np.ndarray
    template: str
    answer_spans: list[list[int]]  # [start, end) in `tokens`; empty: the whole document
    row_id: int
    repeat: int


class TokenStore:
    """Random access to a finished store. Files are opened when first needed; pickling carries the folder alone."""

    def __init__(self, folder: str | Path) -> None:
        """Raises InputError if `folder` holds no finished store."""
        self.folder = Path(folder).absolute()
        self.manifest = read_store_manifest(self.folder)
        self._first = np.concatenate([[0], np.cumsum(self.manifest.shard_documents)])  # of each shard
        self._shards: dict[int, _Shard] = {}

    def __reduce__(self) -> tuple[type[TokenStore], tuple[Path]]:
        return TokenStore, (self.folder,)

    def __len__(self) -> int:
        return self.manifest.samples

    @property
    def corpora(self) -> list[str]:
        return list(self.manifest.corpora)

    def corpus_indices(self, name: str) -> range:
        """The numbers of a corpus's samples; empty for a corpus that the store does not have."""
        counts = self.manifest.corpora.get(name)
        return range(counts.start, counts.stop) if counts else range(0)

    def lengths(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """The tokens of each sample, int32 [indices], without touching the tokens themselves."""
        return self._lengths[np.asarray(indices, dtype=np.int64)]

    def tokens(self, indices: range | np.ndarray) -> int:
        """The tokens of the samples `indices` in all."""
        chosen = slice(indices.start, indices.stop) if isinstance(indices, range) else indices
        return int(self._lengths[chosen].sum(dtype=np.int64))

    def identities(self, indices: range) -> tuple[np.ndarray, np.ndarray]:
        """row_id int64 and repeat int32 of each sample, [indices]; reads these two columns of the whole store."""
        locations = self._locations[self._starts[indices.start : indices.stop]]
        shards = [self._shard(number) for number in range(len(self.manifest.shard_documents))]
        row_ids, repeats = (np.concatenate(column) for column in zip(*(s.identities for s in shards), strict=True))
        return row_ids[locations], repeats[locations]

    def sample(self, index: int) -> TrainingSample:
        """Raises IndexError outside 0 ... len - 1."""
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of a store of {len(self)}")
        first, stop = (int(n) for n in self._starts[index : index + 2])
        documents = [self._document(number) for number in range(first, stop)]
        if len(documents) == 1:
            return documents[0]
        return replace(documents[0], tokens=np.concatenate([document.tokens for document in documents]))

    def _document(self, document: int) -> TrainingSample:
        location = int(self._locations[document])
        number = int(np.searchsorted(self._first, location, side="right")) - 1
        return self._shard(number).sample(location - int(self._first[number]))

    def _shard(self, number: int) -> _Shard:
        shard = self._shards.get(number)
        if shard is None:
            shard = self._shards[number] = _Shard(self.folder, number, self.manifest.shard_documents[number])
        return shard

    @cached_property
    def _locations(self) -> np.ndarray:
        return self._array(LOCATIONS, sum(self.manifest.shard_documents))

    @cached_property
    def _starts(self) -> np.ndarray:
        return self._array(STARTS, len(self) + 1)

    @cached_property
    def _lengths(self) -> np.ndarray:
        return self._array(LENGTHS, len(self))

    def _array(self, name: str, length: int) -> np.ndarray:
        try:
            array: np.ndarray = np.load(self.folder / name, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError):
            raise _damaged(self.folder, name) from None
        if len(array) != length:
            raise _damaged(self.folder, name)
        return array


class _Shard:
    """One memory-mapped file of the store."""

    def __init__(self, folder: Path, number: int, samples: int) -> None:
        path = shard_path(folder, number)
        try:
            batch = pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
        except (OSError, pa.ArrowInvalid):
            raise _damaged(folder, path.name) from None
        if batch.num_rows != samples:
            raise _damaged(folder, path.name)
        tokens = batch["tokens"]
        self._offsets = tokens.offsets.to_numpy()
        self._tokens = tokens.values.to_numpy()
        self._row_ids = batch["row_id"].to_numpy()
        self._repeats = batch["repeat"].to_numpy()
        self._templates, self._spans = batch["template"], batch["answer_spans"]

    @property
    def identities(self) -> tuple[np.ndarray, np.ndarray]:
        return self._row_ids, self._repeats

    def sample(self, row: int) -> TrainingSample:
        return TrainingSample(
            tokens=self._tokens[self._offsets[row] : self._offsets[row + 1]],
            template=self._templates[row].as_py(),
            answer_spans=self._spans[row].as_py(),
            row_id=int(self._row_ids[row]),
            repeat=int(self._repeats[row]),
        )


def _damaged(folder: Path, name: str) -> InputError:
    return InputError(
        f"the token store {folder} is damaged: {name} is missing or cut short; delete it and build it again"
    )
