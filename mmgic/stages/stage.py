"""What a stage is: one table made from another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from mmgic.stages.rows import Row, Transform


@dataclass(frozen=True)
class Resources:
    """How a stage's work is cut, and who does it. Its rows do not depend on it."""

    workers: int = 2
    gpus: float = 0  # of each actor
    prepare_workers: int = 2
    rows_per_block: int = 2000
    rows_per_call: int = 100
    max_error_rate: float = 0.05


@dataclass(frozen=True)
class Stage:
    """One table made from another. Its rows depend on `settings` and on the table read, and on nothing else.

    The rows of a stage that asks the net or a server are not `repeatable`: made once more, they are another table.
    """

    name: str  # such as "mmgic/tokens"; it is also the table's address in the output folder
    schema: pa.Schema
    make_transform: Callable[[], Transform]  # called only if the table is not finished
    settings: Mapping[str, Any]
    sources: tuple[str, ...] = ()  # reads the rows of these sources alone; empty: all
    actors: bool = False  # the transform is made in each of the workers, as a model is; otherwise once, and sent along
    prepare: Callable[[Row], Any] | None = None  # CPU work on a row before the transform, which finds it in `prepared`
    repeatable: bool = True
    resources: Resources = field(default_factory=Resources)
