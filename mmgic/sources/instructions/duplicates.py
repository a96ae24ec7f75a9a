"""Conversations that several sources have: LLaVAR ships LLaVA's records too, mixtures hold whole datasets.

Records are equal if their rounds are, about an image of the same file name (its folders differ from copy to copy). Of
equal ones that of the source listed first stays. A pass over the table sums `Contents` of batches, 24 bytes a record;
what is sent on are the ids of the duplicates alone.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mmgic.sources.copies import ENTRY, later_copies
from mmgic.stages.rows import Row


@dataclass(frozen=True)
class Contents:
    """What records say, as arrays of ENTRY; those of a further batch are added with +=."""

    parts: list[NDArray[np.void]] = field(default_factory=list)

    def __iadd__(self, other: Contents) -> Self:
        self.parts.extend(other.parts)
        return self

    def duplicates(self) -> NDArray[np.int64]:
        """The sorted row ids of the records that are equal to one of an earlier source."""
        return later_copies(np.concatenate([np.empty(0, ENTRY), *self.parts]))


def contents(rows: list[Row], sources: Mapping[str, int]) -> Contents:
    """The kept rows of the named sources; `sources` gives the rank of each."""
    entries = [
        (_digest(row), sources[row["source"]], row["row_id"])
        for row in rows
        if row["keep"] and row["source"] in sources and len(row["images"]) <= 1
    ]
    return Contents([np.array(entries, ENTRY)]) if entries else Contents()


def _digest(row: Row) -> int:
    names = [posixpath.basename(image["image_path"]) or image["url"] for image in row["images"]]
    said = [[part["text"] for side in ("instruction", "response") for part in one[side]] for one in row["rounds"]]
    content = json.dumps([names, said]).encode()
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")
