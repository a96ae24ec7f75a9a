"""Records grouped by key on disk, for files that list them in any order and do not fit in memory."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any


class RecordIndex:
    """Groups JSON records of several kinds by a key, in a private temporary SQLite database.

    Memory stays at SQLite's page cache; the database lies in SQLITE_TMPDIR or TMPDIR (about 150 bytes per detection
    box) and is gone when the index is closed. Use it as a context manager.
    """

    def __init__(self) -> None:
        # a generator that reads from here may be resumed by another thread, never by two at once
        self._database = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("CREATE TABLE records (kind TEXT, key TEXT, record TEXT)")
        self._database.execute("CREATE TABLE seen (key TEXT PRIMARY KEY, times INTEGER) WITHOUT ROWID")

    def __enter__(self) -> RecordIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def fill(self, kind: str, records: Iterable[tuple[str, Any]]) -> int:
        """Stores (key, record) pairs under `kind` and returns how many there were. Call it once per kind."""
        rows = ((kind, key, json.dumps(record, separators=(",", ":"))) for key, record in records)
        before = self._database.total_changes
        self._database.execute("BEGIN")
        self._database.executemany("INSERT INTO records VALUES (?, ?, ?)", rows)
        self._database.execute("COMMIT")
        return self._database.total_changes - before

    def build(self) -> None:
        """Makes the stored records ready for `get`."""
        self._database.execute("CREATE INDEX by_key ON records (kind, key)")

    def get(self, kind: str, key: str) -> list[Any]:
        """The records of `kind` under `key`, in the order in which they were stored."""
        query = "SELECT record FROM records WHERE kind = ? AND key = ? ORDER BY rowid"
        return [json.loads(record) for (record,) in self._database.execute(query, (kind, key))]

    def keys(self, kind: str) -> Iterator[str]:
        """The distinct keys of `kind`, in the order of their first record."""
        query = "SELECT key FROM records WHERE kind = ? GROUP BY key ORDER BY MIN(rowid)"
        return (key for (key,) in self._database.execute(query, (kind,)))

    def times_seen(self, key: str) -> int:
        """How often this was asked for `key` before: 0 for the first time."""
        query = "INSERT INTO seen VALUES (?, 0) ON CONFLICT (key) DO UPDATE SET times = times + 1 RETURNING times"
        [(times,)] = self._database.execute(query, (key,)).fetchall()
        return int(times)

    def unseen(self, kinds: Iterable[str]) -> Iterator[tuple[str, int]]:
        """(key, number of records) of the keys of `kinds` that `times_seen` was never asked for, sorted by key."""
        kinds = list(kinds)
        query = (
            f"SELECT key, COUNT(*) FROM records WHERE kind IN ({', '.join('?' * len(kinds))}) "
            "AND key NOT IN (SELECT key FROM seen) GROUP BY key ORDER BY key"
        )
        return self._database.execute(query, kinds)  # a cursor: there may be as many as records
