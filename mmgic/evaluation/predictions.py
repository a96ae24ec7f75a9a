"""Prediction files: one record for each item, joined on the item's id."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmgic.errors import InputError
from mmgic.evaluation.benchmark import Item, ItemAnswer
from mmgic.evaluation.files import read_records, require, some
from mmgic.files import write_text

Record = dict[str, Any]


@dataclass(frozen=True)
class RecordFile:
    """JSON lines or a JSON array, whichever it is, of records with an item's id and an answer.

    Records that lack ids follow the order of the items, if their form has the `question`, which is then compared.
    """

    id: str  # the field of the item's id
    answer: str  # the field of the answer
    question: str = ""  # the field of the question's text, in forms that repeat it
    lines: bool = False  # JSON lines are what is written
    suffix: str = ".json"

    @property
    def about(self) -> str:
        """The form in a few words."""
        ordered = f', or {{"{self.question}", "{self.answer}"}} in the order of the questions' if self.question else ""
        return f'JSON lines or array of {{"{self.id}", "{self.answer}"}}{ordered}'

    def write(self, path: Path, items: Sequence[Item], answers: Sequence[ItemAnswer]) -> None:
        records = [self._record(item, answer) for item, answer in zip(items, answers, strict=True)]
        lines = [json.dumps(record) for record in records]
        text = "\n".join(lines) if self.lines else "[" + ",\n".join(lines) + "]"
        write_text(str(path), f"{text}\n")

    def _record(self, item: Item, answer: ItemAnswer) -> Record:
        record: Record = {self.id: item.id}
        if self.question:
            record[self.question] = item.question
        record[self.answer] = answer.text
        if answer.logprobs:
            record["logprobs"] = dict(answer.logprobs)
        return record

    def read(self, path: Path, items: Sequence[Item]) -> list[str]:
        """The answers to `items`, in their order.

        Raises InputError for a file in another form, and if items are missing, unknown, answered twice, in another
        order or asked otherwise.
        """
        records = read_records(path)
        for number, record in enumerate(records, start=1):
            require(record, self.answer, str, path, number)
        by_id = not self.question or any(self.id in record for record in records)
        found = self._joined(records, items, path) if by_id else self._in_order(records, items, path)
        for number, (record, item) in enumerate(zip(found, items, strict=True), start=1):
            if self.question in record and str(record[self.question]).strip() != item.question.strip():
                where = f"the answer to {self.id} {item.id}" if by_id else f"answer {number}"
                raise InputError(
                    f"{where} in {path} is for {record[self.question]!r}, the benchmark asks {item.question!r}; "
                    f"score the file that was answered{'' if by_id else f', in its order, or add {self.id} to answers'}"
                )
        return [record[self.answer] for record in found]

    def _joined(self, records: Sequence[Record], items: Sequence[Item], path: Path) -> list[Record]:
        """The records in the order of `items`, joined on the id."""
        ids = [require(record, self.id, (int, str), path, number) for number, record in enumerate(records, start=1)]
        by_id = dict(zip(ids, records, strict=True))
        wanted = {item.id for item in items}
        twice = [i for i, count in Counter(ids).items() if count > 1]
        missing = [item.id for item in items if item.id not in by_id]
        extra = [i for i in by_id if i not in wanted]
        faults = [f"more than one answer to {some(twice)} of the {self.id} values"] if twice else []
        faults += [f"none to {some(missing)}"] if missing else []
        faults += [f"answers to {some(extra)} that the benchmark does not have"] if extra else []
        if faults:
            raise InputError(f"{path} has {', and '.join(faults)}; it must answer each item once")
        return [by_id[item.id] for item in items]

    def _in_order(self, records: Sequence[Record], items: Sequence[Item], path: Path) -> Sequence[Record]:
        if len(records) != len(items):
            raise InputError(f"{path} has {len(records)} answers for {len(items)} questions; answer each one once")
        for number, record in enumerate(records, start=1):
            require(record, self.question, str, path, number)
        return records
