"""What an evaluation leaves: scores.json with what made each number, items.jsonl with what was said to each item."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmgic.errors import InputError
from mmgic.evaluation.benchmark import Score
from mmgic.files import read_mapping, write_text

SCORES_FILE, ITEMS_FILE = "scores.json", "items.jsonl"
Scores = Mapping[str, Score]


@dataclass(frozen=True)
class PartResult:
    """The scores of one part of a benchmark, and of the constant answers to it by the answer."""

    name: str
    predictions: str  # file name
    items: int
    images: int
    scores: Scores
    constants: Mapping[str, Scores]
    total: int = 0  # items that the part has, `items` of which were asked
    digest: str = ""  # of ids and answers, the beginning of their SHA-256
    notes: tuple[str, ...] = ()  # sentences that must be read beside the scores


@dataclass(frozen=True)
class BenchmarkResult:
    """`scores` and `constants` are means over the parts, counts are sums."""

    benchmark: str
    title: str
    headline: tuple[str, ...]
    annotations: tuple[str, ...]
    parts: tuple[PartResult, ...]
    scores: Scores
    constants: Mapping[str, Scores]
    rule: str = ""  # by which answers were read and counted
    digests: tuple[str, ...] = ()  # of the annotation files, the beginnings of their SHA-256

    def headlines(self) -> dict[str, Score]:
        """The scores that tables show, by a label that says their unit. The lowest of several parts stands beside their
        mean, which may hide one that a constant answer beats."""
        return self._shown(self.scores, [part.scores for part in self.parts])

    def constant_headlines(self) -> dict[str, dict[str, Score]]:
        """The constant answers' scores by the labels of `headlines`, then by the answer."""
        shown = {
            said: self._shown(own, [part.constants[said] for part in self.parts])
            for said, own in self.constants.items()
        }
        return {
            name: {said: own[name] for said, own in shown.items() if name in own and score.unit != "count"}
            for name, score in self.headlines().items()
        }

    def _shown(self, scores: Scores, parts: Sequence[Scores]) -> dict[str, Score]:
        shown = {}
        for name in (name for name in self.headline if name in scores):
            said = label(self.title, name, scores[name])
            shown[said] = scores[name]
            if self.constants and len(parts) > 1 and scores[name].unit == "%":
                of_parts = [part[name] for part in parts if name in part]
                shown[f"{said}, lowest of {len(parts)} parts"] = min(of_parts, key=lambda score: score.raw)
        return shown


@dataclass(frozen=True)
class Results:
    """An evaluation of one model."""

    model: str
    control: str | None
    engine: str
    prompt: str  # the corpus in whose documents captions were asked for
    preset: str
    seed: int
    visual_tokenizer: str
    benchmarks: tuple[BenchmarkResult, ...]

    def numbers(self) -> dict[str, float]:
        """The number of each benchmark as papers print it, by its label."""
        first = (next(iter(benchmark.headlines().items()), None) for benchmark in self.benchmarks)
        return {name: score.printed for name, score in filter(None, first)}


@dataclass(frozen=True)
class AskedItem:
    """A line of items.jsonl."""

    benchmark: str
    part: str
    id: int | str
    question: str
    images: Sequence[str]  # paths; a digest for an image that the benchmark's files hold
    target: Sequence[str]
    answer: str
    logprobs: Mapping[str, float]
    value: float | None = None  # what the answer counts, see `Judgement`; None if its right answer is not known
    read: str = ""  # what it was read as


def label(title: str, name: str, score: Score) -> str:
    """A score's name with its unit, such as "POPE F1 (%)"."""
    unit = "" if score.unit in ("count", "points") else f" ({score.unit})"
    return f"{title} {name}{unit}".strip()


def summarize_parts(parts: Sequence[Scores]) -> dict[str, Score]:
    """Each score's mean over the parts that have it; counts are summed."""
    names = dict.fromkeys(name for scores in parts for name in scores)
    own = {name: [scores[name] for scores in parts if name in scores] for name in names}
    return {
        name: Score(
            sum(score.raw for score in scores) / (1 if scores[0].unit == "count" else len(scores)), scores[0].unit
        )
        for name, scores in own.items()
    }


def write_results(folder: Path, results: Results) -> None:
    text = json.dumps(asdict(results, dict_factory=with_printed), indent=2)
    write_text(str(folder / SCORES_FILE), f"{text}\n")


def with_printed(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """A dataclass's fields; a score's printed value stands before the raw one."""
    fields = dict(pairs)
    return {"printed": Score(**fields).printed, **fields} if fields.keys() == {"raw", "unit"} else fields


def read_results(folder: Path) -> Results | None:
    """What `write_results` left in `folder`, or None if nothing was. Raises InputError for a damaged file."""
    path, advice = str(folder / SCORES_FILE), f"delete {folder} and evaluate again"
    content = read_mapping(path, advice)
    if content is None:
        return None
    try:
        return Results(**{**content, "benchmarks": tuple(_benchmark(**found) for found in content["benchmarks"])})
    except (TypeError, KeyError, AttributeError):
        raise InputError(f"{path} holds no scores of this version; {advice}") from None


def _benchmark(**fields: Any) -> BenchmarkResult:
    parts = tuple(PartResult(**{**part, **_scored(part), "notes": tuple(part["notes"])}) for part in fields["parts"])
    lists = {name: tuple(fields[name]) for name in ("headline", "annotations", "digests")}
    return BenchmarkResult(**{**fields, **lists, **_scored(fields), "parts": parts})


def _scored(fields: Mapping[str, Any]) -> dict[str, Any]:
    constants = {said: _scores(own) for said, own in fields["constants"].items()}
    return {"scores": _scores(fields["scores"]), "constants": constants}


def _scores(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Score]:
    return {name: Score(score["raw"], score["unit"]) for name, score in found.items()}


def write_items(path: str | Path, items: Sequence[AskedItem]) -> None:
    """Writes items.jsonl, or a file of its form."""
    lines = [json.dumps(asdict(item)) for item in items]
    write_text(str(path), "".join(f"{line}\n" for line in lines))


def read_items(folder: Path) -> list[AskedItem]:
    """The lines of items.jsonl; none if it is not there. Raises InputError for a damaged file."""
    path = folder / ITEMS_FILE
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8") as file:
            return [AskedItem(**json.loads(line)) for line in file]
    except (ValueError, TypeError):
        raise InputError(f"{path} is damaged; delete {folder} and evaluate again") from None
