"""What the scores are taken on: every registered benchmark's own files, which it writes itself."""

from __future__ import annotations

import json
from pathlib import Path

from mmgic.evaluation.registry import benchmarks
from mmgic.toy.datasets.benchmarks import examples
from mmgic.toy.datasets.samples import World, write_json
from mmgic.toy.datasets.tables import Record


def write_evaluation(data: Path, world: World, scenes: int, karpathy: list[Record]) -> None:
    """`karpathy` are the records of training images that are COCO's: they go into Karpathy's file as well."""
    shown = examples(world, scenes)
    for benchmark in benchmarks().values():
        benchmark.write_examples(shown, data)
    path = data / "karpathy/dataset_coco.json"
    file = json.loads(path.read_text(encoding="utf-8"))
    write_json(path, {**file, "images": [*karpathy, *file["images"]]})
