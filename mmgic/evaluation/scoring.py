"""From answers to scores, whoever gave the answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmgic.errors import InputError
from mmgic.evaluation.benchmark import Item, image_name
from mmgic.evaluation.registry import find
from mmgic.evaluation.results import BenchmarkResult, PartResult, summarize_parts


def score_files(name: str, predictions: Sequence[str], annotations: Sequence[str]) -> BenchmarkResult:
    """Scores prediction files in the benchmark's own form, one for each part in the order of the parts.

    Raises InputError for files in another form and for answers that do not fit the items.
    """
    benchmark = find(name)
    parts = benchmark.read(annotations)
    if len(predictions) != len(parts):
        raise InputError(
            f"{benchmark.title} has {len(parts)} parts in {', '.join(annotations)} but {len(predictions)} prediction "
            "files; give one for each part, in their order"
        )
    results = [
        score_part(name, part, items, benchmark.predictions.read(Path(file), items), file)
        for file, (part, items) in zip(predictions, parts.items(), strict=True)
    ]
    return benchmark_result(name, annotations, results)


def score_part(name: str, part: str, items: Sequence[Item], answers: Sequence[str], predictions: str) -> PartResult:
    """The scores of `answers`, which `predictions` holds, and those of constant answers beside them."""
    benchmark = find(name)
    return PartResult(
        name=part,
        predictions=predictions,
        items=len(items),
        images=len({image_name(image) for item in items for image in item.images}),
        scores=benchmark.score(items, answers),
        constants={said: benchmark.score(items, [said] * len(items)) for said in benchmark.constants},
    )


def benchmark_result(name: str, annotations: Sequence[str], parts: Sequence[PartResult]) -> BenchmarkResult:
    benchmark = find(name)
    return BenchmarkResult(
        benchmark=name,
        title=benchmark.title,
        headline=benchmark.headline,
        annotations=tuple(annotations),
        parts=tuple(parts),
        scores=summarize_parts([part.scores for part in parts]),
        constants={said: summarize_parts([part.constants[said] for part in parts]) for said in benchmark.constants},
    )
