"""From answers to scores, whoever gave the answers."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mmgic.errors import InputError
from mmgic.evaluation.benchmark import Answered, Item, Score, Scored, image_name
from mmgic.evaluation.files import kept_files, some
from mmgic.evaluation.registry import find
from mmgic.evaluation.results import AskedItem, BenchmarkResult, PartResult, Scores, summarize_parts
from mmgic.files import file_digest


def score_files(
    name: str, predictions: Sequence[str], annotations: Sequence[str], subset: bool = False
) -> tuple[BenchmarkResult, list[AskedItem]]:
    """Scores of prediction files, one for each part in the order of the parts, and the verdict on each item.

    With `subset` a file need not answer all items. Raises InputError for files in another form, for answers that do
    not fit the items, and if the annotation files hold no right answers.
    """
    benchmark = find(name)
    with kept_files(predictions) as answers, kept_files(annotations) as files:
        parts = benchmark.read(files)
        if len(answers) != len(parts):
            raise InputError(
                f"{benchmark.title} has {len(parts)} parts in {', '.join(annotations)} but {len(answers)} prediction "
                "files; give one for each part, in their order"
            )
        if not any(item.target for items in parts.values() for item in items):
            where = f"; submit the predictions to {benchmark.server}" if benchmark.server else ""
            raise InputError(f"{', '.join(annotations)} hold no right answers{where}")
        results, asked = [], []
        for file, shown, (part, items) in zip(answers, predictions, parts.items(), strict=True):
            found = benchmark.predictions.read(Path(file), items, subset)
            result, verdicts = score_part(name, part, found, shown, len(items))
            results.append(result)
            asked += verdicts
        return benchmark_result(name, annotations, results, files), asked


def score_part(
    name: str, part: str, found: Answered, predictions: str, total: int | None = None
) -> tuple[PartResult, list[AskedItem]]:
    """The scores of answers that the file `predictions` holds, those of constant answers beside them, the verdicts.

    `total` is the number of items that the part has, if not all were asked. Raises InputError if some items alone have
    right answers.
    """
    items = found.items
    scored = _scored(name, items, found.texts)
    unread = [item.id for item, verdict in zip(items, scored.verdicts, strict=False) if not verdict.read]
    notes = [*found.notes, *scored.notes, *_suspicions(found.texts)]
    if unread:
        notes.append(f"answers that hold none of what the rule looks for, or more than one: {some(unread)}")
    if total is not None and total > len(items):
        notes.append(f"a subset: {len(items):,} of {total:,} items; other scores of this benchmark do not compare")
    counts = {"unreadable": Score(len(unread), "count")} if scored.scores else {}
    result = PartResult(
        name=part,
        predictions=predictions,
        items=len(items),
        images=len({image_name(image) for item in items for image in item.images}),
        scores={**scored.scores, **counts},
        constants={said: _scored(name, items, [said] * len(items)).scores for said in constant_answers(items)},
        total=len(items) if total is None else total,
        digest=_digest(items, found.texts),
        notes=tuple(notes),
    )
    return result, [_asked(name, part, found, scored, i) for i in range(len(items))]


def _scored(name: str, items: Sequence[Item], texts: Sequence[str]) -> Scored:
    known = [bool(item.target) for item in items]
    if not any(known):
        return Scored({}, [])
    if not all(known):
        without = [item.id for item, own in zip(items, known, strict=True) if not own]
        raise InputError(f"there is no right answer to {some(without)} of the items of {find(name).title}")
    return find(name).score(items, texts)


def constant_answers(items: Sequence[Item]) -> list[str]:
    """What needs no model: each option, or the most common right answer if the items have no options.

    Captions have none: no two images share one.
    """
    if any(item.task == "image_caption" for item in items):
        return []
    if options := list(dict.fromkeys(option for item in items for option in item.options)):
        return options
    targets = Counter(answer for item in items for answer in item.target)
    return [targets.most_common(1)[0][0]] if targets else []


def _suspicions(texts: Sequence[str]) -> list[str]:
    notes = []
    if empty := sum(not text.strip() for text in texts):
        notes.append(f"{empty:,} of {len(texts):,} answers are empty")
    if len(texts) > 1 and len(set(texts)) == 1 and texts[0].strip():
        notes.append(f"all {len(texts):,} answers are {texts[0][:100]!r}")
    return notes


def _digest(items: Sequence[Item], texts: Sequence[str]) -> str:
    """Of ids and answers in the items' order: equal for the same answers in whatever file and order."""
    pairs = [[str(item.id), text] for item, text in zip(items, texts, strict=True)]
    return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()[:16]


def _asked(name: str, part: str, found: Answered, scored: Scored, i: int) -> AskedItem:
    item = found.items[i]
    verdict = scored.verdicts[i] if scored.verdicts else None
    images = [image_name(image) for image in item.images]
    value, read = (verdict.value, verdict.read) if verdict else (None, "")
    return AskedItem(name, part, item.id, item.question, images, item.target, found.texts[i], {}, value, read)


def benchmark_result(
    name: str, annotations: Sequence[str], parts: Sequence[PartResult], files: Sequence[str] | None = None
) -> BenchmarkResult:
    """The result of a benchmark's parts; `files` are where the annotation files can be read, if not at their names."""
    benchmark = find(name)
    said = dict.fromkeys(said for part in parts for said in part.constants)
    return BenchmarkResult(
        benchmark=name,
        title=benchmark.title,
        headline=benchmark.headline,
        annotations=tuple(annotations),
        parts=tuple(parts),
        scores=summarize_parts([part.scores for part in parts]),
        constants={said: _of_constant(parts, said) for said in said},
        rule=benchmark.rule,
        digests=tuple(file_digest(file)[:16] for file in files or annotations),
    )


def headline_of(name: str, part: PartResult) -> float:
    """The first of the benchmark's headline scores that a part has, as it is printed."""
    return next(part.scores[score].printed for score in find(name).headline if score in part.scores)


def _of_constant(parts: Sequence[PartResult], said: str) -> Scores:
    return summarize_parts([part.constants[said] for part in parts if said in part.constants])
