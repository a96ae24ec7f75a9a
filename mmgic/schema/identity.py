"""Who a record is: the id that its rows are joined and resumed by, and the randomness that is its own."""

from __future__ import annotations

import hashlib

import numpy as np


def row_id(source: str, record_id: str, repeat: int = 0) -> int:
    """A stable signed 64-bit id of a record. Collisions are checked by the stage that first makes the ids."""
    text = f"{source}\x1f{record_id}\x1f{repeat}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little", signed=True)


def record_generator(seed: int, stage: str, source: str, record_id: str, repeat: int = 0) -> np.random.Generator:
    """The generator that all randomness of one record in one stage comes from (design: determinism by identity)."""
    text = f"{seed}\x1f{stage}\x1f{source}\x1f{record_id}\x1f{repeat}".encode()
    return np.random.Generator(
        np.random.PCG64(int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little"))
    )
