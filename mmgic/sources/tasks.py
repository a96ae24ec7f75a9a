"""Parts of a mixture of instructions, by what its records are for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mmgic.errors import InputError
from mmgic.schema import TASKS, Interleaved, reject
from mmgic.settings import SourceSettings
from mmgic.sources.formats import FORMATS


def of_tasks(rows: Iterable[Interleaved], source: SourceSettings) -> Iterator[Interleaved]:
    """`rows` with those set aside whose task is none of `source.tasks`. Raises InputError if these are no tasks."""
    if FORMATS[source.format].corpus != "sft":
        raise InputError(f"source '{source.name}': the format '{source.format}' has no tasks; remove its 'tasks'")
    for task in source.tasks:
        if task not in TASKS:
            raise InputError(f"source '{source.name}': '{task}' is no task; 'tasks' takes some of {', '.join(TASKS)}")
    for row in rows:
        if row["keep"] and row["task"] not in source.tasks:
            yield {**row, **reject("other_task", f"the source's tasks are {', '.join(source.tasks)}")}
        else:
            yield row
