"""Records that several sources have, found by 64 bits of what tells them apart.

Of equal records that of the source listed first stays, and of one source's own that of the smallest row_id. Among 229 M
urls two different ones have the same 64 bits with probability 0.0014.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmgic.errors import about
from mmgic.schema import CaptionedImage, Interleaved, reject

T = TypeVar("T", CaptionedImage, Interleaved)

COLUMNS = ("content", "rank", "row_id")  # rank: the source's place in the list
ENTRY = np.dtype(list(zip(COLUMNS, ("<u8", "<i8", "<i8"), strict=True)))
PARTITIONS = 32  # of the entries on disk; the memory that 229 M of them need is then 170 MB, and as much for sorting
_PORTS = {"http": 80, "https": 443}


def later_copies(entries: NDArray[np.void]) -> NDArray[np.int64]:
    """The sorted row ids of the `entries` (ENTRY, in any order) that are equal to one that stays."""
    entries = entries[np.lexsort([entries[name] for name in reversed(COLUMNS)])]  # much faster than np.sort
    again = np.zeros(len(entries), bool)
    again[1:] = entries["content"][1:] == entries["content"][:-1]
    return np.sort(entries["row_id"][again])


def later_copies_on_disk(parts: Iterable[NDArray[np.void]]) -> NDArray[np.int64]:
    """`later_copies` of all `parts`, in memory of one partition of the entries and of the row ids that are found.

    The entries lie in files of TMPDIR meanwhile, 24 bytes each.
    """
    found = []
    with about(tempfile.gettempdir()), ExitStack() as files:
        partitions = [files.enter_context(tempfile.TemporaryFile()) for _ in range(PARTITIONS)]
        for part in parts:
            numbers = part["content"] % PARTITIONS
            for number, file in enumerate(partitions):
                file.write(part[numbers == number].tobytes())
        for file in partitions:
            file.seek(0)
            found.append(later_copies(np.fromfile(file, ENTRY)))
    return np.sort(np.concatenate(found))


def url_entries(rows: pa.Table, ranks: Mapping[str, int]) -> NDArray[np.void]:
    """The ENTRY of each kept row (columns row_id, source, url, keep) of the sources in `ranks` that names a url."""
    entries = [
        (url_content(row["url"]), ranks[row["source"]], row["row_id"])
        for row in rows.to_pylist()
        if row["keep"] and row["url"] and row["source"] in ranks
    ]
    return np.array(entries, ENTRY)


def url_content(url: str) -> int:
    """64 bits of a url without what does not change the image: http or https, case of the host, port, fragment."""
    return int.from_bytes(hashlib.blake2b(_plain_url(url).encode(), digest_size=8).digest(), "little")


def _plain_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return url
    host = (parts.hostname or "") + (f":{port}" if port and port != _PORTS.get(parts.scheme) else "")
    return f"{host}{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"


@dataclass(frozen=True)
class RejectCopies:
    """Sets the rows of the sorted ids aside, as `detail` says."""

    ids: NDArray[np.int64]
    detail: str

    def __call__(self, row: T) -> T:
        position = int(np.searchsorted(self.ids, row["row_id"]))
        if position < len(self.ids) and self.ids[position] == row["row_id"]:
            return {**row, **reject("duplicate_record", self.detail)}
        return row
