"""Prediction files: one record for each item, joined on the item's id, as this tool, the authors or others write it."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmgic.errors import InputError
from mmgic.evaluation.benchmark import Answered, Item, ItemAnswer
from mmgic.evaluation.files import Record, read_records, require, some
from mmgic.files import write_text

# Whoever writes one of these beside "answer" means the right answer by "answer" (VLMEvalKit, MathVista, MMMU).
SAID = ("prediction", "response", "pred", "model_answer", "output")
LLAVA = "text"  # of LLaVA's answer files, whose questions are in "prompt"
LMMS_EVAL = ("filtered_resps", "resps")
IDS = ("question_id", "questionId", "index", "id", "image_id")
QUESTIONS = ("question", "prompt")
_MARK = re.compile(r"<image(?: \d+)?>")


@dataclass(frozen=True)
class RecordFile:
    """Records with an item's id and an answer: JSON array, JSON lines, {id: answer}, CSV, TSV or .xlsx.

    What other tools call the two fields is known. Records that lack ids follow the order of the items, if their form
    has the `question`. The question's text is compared whenever it is there.
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
        return f'JSON, JSON lines, CSV, TSV or xlsx of {{"{self.id}", "{self.answer}"}}{ordered}'

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

    def read(self, path: Path, items: Sequence[Item], subset: bool = False) -> Answered:
        """The answers to `items`, in their order; with `subset` to those of them that the file answers.

        Raises InputError for a file in another form, and if items are missing, unknown, answered twice, in another
        order or asked otherwise.
        """
        return self.answered(read_records(path), items, path, subset)

    def answered(self, records: Sequence[Record], items: Sequence[Item], path: Path, subset: bool) -> Answered:
        """`read` of the records of the file `path`."""
        records = [_unwrapped(record) for record in records]
        if len(records) == 1 and self.answer not in records[0] and not set(SAID) & set(records[0]):
            records = self._of_mapping(records[0])
        answer, notes = self._answer_field(records, path)
        texts = [_text(record, answer, path, number) for number, record in enumerate(records, start=1)]
        key = next((name for name in (self.id, *IDS) if all(name in record for record in records)), "")
        if key or not self.question or any(self.id in record for record in records):
            found, asked = joined(records, items, key or self.id, path, subset)
        else:
            found, asked = _in_order(records, items, self.question, path), list(items)
        for number, (i, item) in enumerate(zip(found, asked, strict=True), start=1):
            where = f"the answer to {self.id} {item.id}" if key else f"answer {number}"
            _compare(records[i], item, answer, f"{where} in {path}", self.id)
        return Answered(asked, [texts[i] for i in found], notes)

    def _of_mapping(self, record: Record) -> list[Record]:
        """The records of {id: answer} or {id: record}, which tools wrap in one more object."""
        inner = next((record[name] for name in ("outputs", "results") if isinstance(record.get(name), dict)), record)
        if self.id in inner or not all(isinstance(value, (str, int, float, dict)) for value in inner.values()):
            return [record]
        return [{**(v if isinstance(v, dict) else {self.answer: v}), self.id: name} for name, v in inner.items()]

    def _answer_field(self, records: Sequence[Record], path: Path) -> tuple[str, tuple[str, ...]]:
        fields = {name for record in records for name in record}
        said = [name for name in SAID if name in fields and name != self.answer]
        if self.answer in fields and self.answer == "answer" and said:
            return said[0], (f"{path}: answers were read from '{said[0]}'; 'answer' beside it is taken for the label",)
        known = (self.answer, *said, LLAVA, "answer", "caption")
        return next((name for name in known if name in fields), self.answer), ()


def joined(
    records: Sequence[Record], items: Sequence[Item], key: str, path: Path, subset: bool = False
) -> tuple[list[int], list[Item]]:
    """Positions of the records of `items` in their order, and the items, joined on the record's `key`.

    Ids are compared as texts, since tables know no others. An id that the benchmark itself has more than once is
    answered as often, told apart by the question, or once if it is the same question. An item may be `optional` in its
    metadata, and may name ids of `others` in its benchmark's files that are not asked. Raises InputError unless each
    item, or with `subset` some, has its answer.
    """
    places = defaultdict(list)
    for number, record in enumerate(records, start=1):
        places[str(require(record, key, (int, str), path, number)).strip()].append(number - 1)
    wanted = Counter(str(item.id) for item in items)
    questions = Counter(key for key, _ in {(str(item.id), item.question) for item in items})
    others = items[0].metadata.get("others", ()) if items else ()
    twice = [i for i, found in places.items() if len(found) > max(1, wanted[i]) and i in wanted]
    missing = [str(item.id) for item in items if str(item.id) not in places and not item.metadata.get("optional")]
    extra = [i for i in places if i not in wanted and i not in others]
    faults = [f"more than one answer to {some(twice)} of the {key} values"] if twice else []
    fewer = [i for i, found in places.items() if len(found) < wanted[i] and (len(found) > 1 or questions[i] > 1)]
    faults += [f"fewer answers than questions to {some(fewer)}"] if fewer else []
    faults += [f"none to {some(missing)}"] if missing and (not subset or len(missing) == len(items)) else []
    faults += [f"answers to {some(extra)} that the benchmark does not have"] if extra else []
    if faults:
        partly = "; --subset scores those that are there" if missing and len(missing) < len(items) else ""
        raise InputError(f"{path} has {', and '.join(faults)}; it must answer each item once{partly}")
    asked = [item for item in items if str(item.id) in places]
    return [_taken(places[str(item.id)], item, records) for item in asked], asked


def _taken(places: list[int], item: Item, records: Sequence[Record]) -> int:
    """The record of `item` among those of its id, which leaves them unless it is the last one."""
    if len(places) == 1:
        return places[0]
    fitting = (place for place in places if all(_asks(said, item) for said in _repeated(records[place], "").values()))
    chosen = next(fitting, places[0])
    places.remove(chosen)
    return chosen


def _in_order(records: Sequence[Record], items: Sequence[Item], question: str, path: Path) -> list[int]:
    if len(records) != len(items):
        raise InputError(f"{path} has {len(records)} answers for {len(items)} questions; answer each one once")
    for number, record in enumerate(records, start=1):
        require(record, question, str, path, number)
    return list(range(len(records)))


def _unwrapped(record: Record) -> Record:
    """A record of lmms-eval's log with the fields of the document that it holds; other records as they are."""
    responses = next((record[name] for name in LMMS_EVAL if name in record), None)
    if responses is None:
        return record
    while isinstance(responses, list) and len(responses) == 1:
        [responses] = responses
    doc = record.get("doc")
    asked = {name: value for name, value in (doc if isinstance(doc, dict) else {}).items() if name not in SAID}
    return {**asked, "prediction": responses}


def _text(record: Record, field: str, path: Path, number: int) -> str:
    value = require(record, field, (str, int, float), path, number)
    return value if isinstance(value, str) else str(value)


def _compare(record: Record, item: Item, answer: str, where: str, key: str) -> None:
    """Raises InputError if the record repeats a question and it is another one."""
    for said in _repeated(record, answer).values():
        if not _asks(said, item):
            raise InputError(
                f"{where} is for {said!r}, the benchmark asks {item.question!r}; "
                f"score the file that was answered, in its order, or add {key} to answers"
            )


def _repeated(record: Record, answer: str) -> dict[str, str]:
    """The fields that repeat the question; LLaVA's "text" is an answer, POPE's a question."""
    names = (*QUESTIONS, LLAVA) if answer and answer != LLAVA else QUESTIONS
    found = {name: record.get(name) for name in names if name != answer}
    return {name: said for name, said in found.items() if isinstance(said, str) and said.strip()}


def _asks(said: str, item: Item) -> bool:
    """If a prompt asks the item's question; either may say more than the other."""
    asked, shown = (" ".join(_MARK.sub("", text).split()) for text in (item.question, said))
    return asked in shown or shown in asked
