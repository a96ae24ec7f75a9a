"""One number for the rows of a table, whatever files and order they lie in."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pyarrow as pa
import pyarrow.dataset

from mmgic.errors import InputError
from mmgic.stages import tables

ROWS_PER_PASS = 1 << 23  # 256 MiB of row hashes
ROWS_AT_ONCE = 1024
_ENTRY = np.dtype([("row_id", "<i8"), ("repeat", "<i8"), ("hash_0", "<u8"), ("hash_1", "<u8")])


def digest(folder: str) -> str:
    """SHA-256, in hex, over the rows of the finished tables in `folder`, ordered by (row_id, repeat).

    Two folders have one digest if and only if they hold the same rows with the same values; the number and order of
    files and the order of columns do not matter. Memory does not grow with the table. Raises InputError if no
    finished table is found.
    """
    found = tables.finished_tables(folder)
    if not found:
        raise InputError(f"{folder} holds no finished table; give the folder of a stage that has a {tables.MANIFEST}")
    table = tables.open_table(*(table.folder for table in found))
    rows = table.count_rows()
    passes = -(-rows // ROWS_PER_PASS) or 1
    total = hashlib.sha256(f"{rows} rows\n".encode())
    for remainder in range(passes):
        batches = table.to_batches(batch_size=ROWS_AT_ONCE, batch_readahead=2, fragment_readahead=1)
        entries = [_entries(batch, remainder, passes) for batch in batches]
        total.update(np.sort(np.concatenate([np.empty(0, _ENTRY), *entries]), order=_ENTRY.names).tobytes())
    return total.hexdigest()


def _entries(batch: pa.RecordBatch, remainder: int, passes: int) -> np.ndarray:
    """The keys and hashes [rows of this pass] of a batch."""
    chosen = batch.filter(pa.array(batch.column("row_id").to_numpy() % passes == remainder))
    entries = np.empty(chosen.num_rows, _ENTRY)
    for i, row in enumerate(chosen.to_pylist()):
        # JSON writes a float with as many digits as give it back exactly
        text = json.dumps(row, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        row_hash = hashlib.blake2b(text.encode(), digest_size=16).digest()
        entries[i] = (row["row_id"], row.get("repeat", 0), *np.frombuffer(row_hash, "<u8"))
    return entries
