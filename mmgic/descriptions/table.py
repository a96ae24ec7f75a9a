"""The descriptions of all labels: the model's replies, and what a person decided about them in the review file.

One JSON object a line: {"source", "kind", "label", "status", "description", "reason", "by"}, sorted.
`mmgic.descriptions.reading` reads it. `status` is one of `parse.Status`; `by` is model, person or dataset.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from mmgic.descriptions import Kind
from mmgic.descriptions.labels import Concept, Key
from mmgic.descriptions.parse import STATUSES, Reply, Status, parse_edit, parse_reply
from mmgic.descriptions.prompts import label_prompt
from mmgic.descriptions.review import ReviewForm, ReviewRow, append_review, read_review
from mmgic.errors import InputError
from mmgic.files import write_text
from mmgic.language_model.client import LanguageModel, Prompt

REVIEW = ReviewForm(("source", "kind", "label"), ("count", "definition", "status", "text"))


@dataclass(frozen=True)
class Entry:
    """What became of one label."""

    source: str
    kind: Kind
    label: str
    status: Status
    description: str = ""
    reason: str = ""  # why the label is invalid, or the reply unusable
    by: Literal["model", "person", "dataset"] = "model"


def describe(
    concepts: Sequence[Concept],
    model: LanguageModel | None,
    review_path: str,
    noisy: frozenset[str] = frozenset(),
    given: Mapping[Key, str] | None = None,
    define: Callable[[str], str] = lambda synset: "",
    progress: Callable[[int], None] | None = None,
) -> list[Entry]:
    """Describes every concept, in their order, and appends those that are new to the review file.

    `model` may be None where all are `given`. `noisy` names the sources whose labels may be invalid; `given` are
    descriptions that datasets bring along, which are used as they are; `define` gives a synset's definition to show
    beside an object's label in the review. Raises InputError for a review file that cannot be read, before the model is
    asked anything.
    """
    read_review(review_path, REVIEW)
    given = given or {}
    asked = [concept for concept in concepts if concept.key not in given]
    answers = model.ask([_prompt(concept, noisy) for concept in asked], progress) if model else []
    replies, new = {}, []
    for concept, answer in zip(asked, answers, strict=True):
        reply = replies[concept.key] = parse_reply(answer, concept.source in noisy)
        if not answer.failed:  # a request that failed is made again next time, so there is nothing to review yet
            new.append(_review_row(concept, reply, define))
    append_review(review_path, REVIEW, new)
    # read again: a person may have worked on it while the model was asked
    verdicts = read_review(review_path, REVIEW)
    entries = []
    for concept in concepts:
        if (key := concept.key) in given:
            entries.append(_entry(concept, Reply("described", " ".join(given[key].split())), "dataset"))
        else:
            entries.append(_decide(concept, replies[key], verdicts.get(key), review_path))
    return entries


def write_table(path: str, entries: Iterable[Entry]) -> None:
    lines = (json.dumps(asdict(entry), ensure_ascii=False) for entry in entries)
    write_text(path, "".join(f"{line}\n" for line in lines))


def status_table(entries: Iterable[Entry]) -> str:
    """How many labels of each source and kind have each status, as text."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for entry in entries:
        counts.setdefault((entry.source, entry.kind), Counter())[entry.status] += 1
    width = max([len("source"), *(len(source) for source, _ in counts)])
    lines = [f"{'source':{width}}  {'kind':12}" + "".join(f"{name:>11}" for name in ("labels", *STATUSES))]
    for (source, kind), of_kind in counts.items():
        numbers = (of_kind.total(), *(of_kind[status] for status in STATUSES))
        lines.append(f"{source:{width}}  {kind:12}" + "".join(f"{number:>11,}" for number in numbers))
    return "\n".join(lines)


def _prompt(concept: Concept, noisy: frozenset[str]) -> Prompt:
    return label_prompt(concept.kind, concept.label, concept.related, concept.source in noisy)


def _review_row(concept: Concept, reply: Reply, define: Callable[[str], str]) -> ReviewRow:
    definition = define(concept.synset) if concept.synset else ""
    values = (*concept.key, str(concept.count), definition, reply.status, reply.text)
    return dict(zip((*REVIEW.key, *REVIEW.proposed), values, strict=True))


def _decide(concept: Concept, reply: Reply, row: ReviewRow | None, path: str) -> Entry:
    verdict = row["verdict"] if row else ""
    if row is None or not verdict:
        return _entry(concept, reply, "model")
    if verdict == "reject":
        return _entry(concept, Reply("rejected", ""), "person")
    if verdict == "edit":
        # a person may call any label invalid, in the model's own way of saying so
        return _entry(concept, parse_edit(row["edit"]), "person")
    if row["status"] not in STATUSES:
        raise InputError(f"{path}: the status of '{concept.label}' is '{row['status']}'; leave that column as it was")
    return _entry(concept, Reply(row["status"], row["text"]), "person")


def _entry(concept: Concept, reply: Reply, by: Literal["model", "person", "dataset"]) -> Entry:
    described = reply.status == "described"
    return Entry(
        *(concept.source, concept.kind, concept.label, reply.status),
        description=reply.text if described else "",
        reason="" if described else reply.text,
        by=by,
    )
