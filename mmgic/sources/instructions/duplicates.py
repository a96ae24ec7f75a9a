"""Conversations that several sources have: LLaVAR ships LLaVA's records too, mixtures hold whole datasets.

Records are equal if their rounds are, about an image of the same file name (its folders differ from copy to copy). Of
equal ones that of the source listed first stays. A pass over the table sums `Contents` of batches with +, 24 bytes a
record; what is sent on are the ids of the duplicates alone.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmgic.schema import reject
from mmgic.transform import Row

CONVERSATIONS = ("llava", "unimm_chat", "alpaca", "sharegpt")  # the formats whose records are copied around
_ENTRY = np.dtype([("content", "<u8"), ("rank", "<i8"), ("row_id", "<i8")])


@dataclass(frozen=True)
class Contents:
    """What records say, as arrays of _ENTRY."""

    parts: tuple[NDArray[np.void], ...] = ()

    def __add__(self, other: Contents) -> Contents:
        return Contents(self.parts + other.parts)

    def duplicates(self) -> NDArray[np.int64]:
        """The sorted row ids of the records that are equal to one of an earlier source."""
        entries = np.sort(np.concatenate([np.empty(0, _ENTRY), *self.parts]), order=_ENTRY.names)
        again = np.zeros(len(entries), bool)
        again[1:] = entries["content"][1:] == entries["content"][:-1]
        return np.sort(entries["row_id"][again])


def contents(rows: list[Row], sources: Mapping[str, int]) -> Contents:
    """The kept rows of the named sources; `sources` gives the rank of each."""
    entries = [
        (_digest(row), sources[row["source"]], row["row_id"])
        for row in rows
        if row["keep"] and row["source"] in sources and len(row["images"]) <= 1
    ]
    return Contents((np.array(entries, _ENTRY),)) if entries else Contents()


@dataclass(frozen=True)
class RejectDuplicates:
    """Sets the rows of the sorted ids aside."""

    ids: NDArray[np.int64]

    def __call__(self, row: Row) -> Row:
        position = int(np.searchsorted(self.ids, row["row_id"]))
        if position < len(self.ids) and self.ids[position] == row["row_id"]:
            return {**row, **reject("duplicate_record", "a source listed before has this conversation")}
        return row


def _digest(row: Row) -> int:
    names = [posixpath.basename(image["image_path"]) or image["url"] for image in row["images"]]
    said = [[part["text"] for side in ("instruction", "response") for part in one[side]] for one in row["rounds"]]
    content = json.dumps([names, said]).encode()
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")
