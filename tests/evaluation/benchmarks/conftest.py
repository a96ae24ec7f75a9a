"""Scores of answers to a benchmark's example files, and items made by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from mmgic.evaluation.benchmark import Item, Scored
from mmgic.evaluation.registry import find
from mmgic.evaluation.scoring import score_files
from mmgic.toy.datasets.benchmarks import examples
from mmgic.toy.datasets.samples import World


def choice_item(key: Any, right: str, count: int = 4, **metadata: Any) -> Item:
    letters = "ABCD"[:count]
    texts = ("a cat", "blue", "two", "a horse")[:count]
    return Item(key, "multiple_choice", f"Question {key}?", choices=texts, options=tuple(letters), target=(right,),
                metadata=metadata)  # fmt: skip


def raw(scored: Scored) -> dict[str, float]:
    return {name: score.raw for name, score in scored.scores.items()}


@pytest.fixture(scope="session")
def example_files(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[str]]:
    """The annotation files of a benchmark that it writes itself, of twelve pictures."""
    shown, root = examples(World(0), 12), tmp_path_factory.mktemp("examples")

    def written(name: str) -> list[str]:
        find(name).write_examples(shown, root)
        return [str(root / file) for file in find(name).files]

    return written


def score_records(name: str, files: Sequence[str], records: Any, folder: Path, **flags: Any) -> dict[str, float]:
    """The scores of predictions that a JSON file holds."""
    path = folder / "predictions.json"
    path.write_text(json.dumps(records), encoding="utf-8")
    result, _ = score_files(name, [str(path)], files, **flags)
    return {score: found.raw for score, found in result.scores.items()}
