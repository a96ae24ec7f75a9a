"""The items that an evaluation's settings ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mmgic.errors import InputError
from mmgic.evaluation.benchmark import Item, image_name
from mmgic.evaluation.registry import find
from mmgic.settings import BenchmarkSettings, Settings


def benchmarks_of(settings: Settings) -> Sequence[BenchmarkSettings]:
    """The benchmarks of the settings. Raises InputError if there is none, or one twice."""
    benchmarks = settings.evaluation.benchmarks
    names = [benchmark.name for benchmark in benchmarks]
    if not names:
        raise InputError("there is nothing to evaluate on; set evaluation.benchmarks")
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"evaluation.benchmarks has {twice[0]} twice; list all of its files in one entry")
    return benchmarks


def only(settings: Settings, names: Sequence[str]) -> Settings:
    """`settings` with the benchmarks `names` alone. Raises InputError for a name that they do not have."""
    by_name = {benchmark.name: benchmark for benchmark in settings.evaluation.benchmarks}
    for name in names:
        find(name)
        if name not in by_name:
            raise InputError(f"evaluation.benchmarks has no {name}; add its name, files and images there")
    chosen = tuple(by_name[name] for name in dict.fromkeys(names))
    return replace(settings, evaluation=replace(settings.evaluation, benchmarks=chosen))


def items_of(benchmark: BenchmarkSettings, settings: Settings) -> dict[str, list[Item]]:
    """The items of each part that are looked at. Raises InputError for files that cannot be used."""
    parts = find(benchmark.name).read(benchmark.files)
    for item in (item for items in parts.values() for item in items):
        if not item.images and item.task == "image_caption":
            raise InputError(
                f"item {item.id} of {', '.join(benchmark.files)} has no image; use files that name the images"
            )
    most = settings.evaluation.max_images
    return {name: _first(items, most) if most else items for name, items in parts.items()}


def _first(items: Sequence[Item], most: int) -> list[Item]:
    """The items about the first `most` images, an item without an image counting as one."""
    subjects = [image_name(item.images[0]) if item.images else f"item {item.id}" for item in items]
    first = set(list(dict.fromkeys(subjects))[:most])
    return [item for item, subject in zip(items, subjects, strict=True) if subject in first]
