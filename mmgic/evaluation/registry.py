"""The benchmarks there are: every module in `mmgic/evaluation/benchmarks/` holds one as `BENCHMARK`."""

from __future__ import annotations

import difflib
import posixpath
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from mmgic.errors import InputError
from mmgic.evaluation import benchmarks as package
from mmgic.evaluation.benchmark import Benchmark
from mmgic.settings import BenchmarkSettings


@cache
def benchmarks() -> Mapping[str, Benchmark]:
    """Every benchmark by its name, in the order of the names."""
    names = sorted(module.name for module in iter_modules(package.__path__))
    return {name: import_module(f"{package.__name__}.{name}").BENCHMARK for name in names}


def find(name: str) -> Benchmark:
    """The benchmark called `name`. Raises InputError that names the nearest one."""
    if name not in benchmarks():
        near = difflib.get_close_matches(name, benchmarks(), n=1, cutoff=0.0)[0]
        raise InputError(f"there is no benchmark '{name}'; did you mean '{near}'? (all: {', '.join(benchmarks())})")
    return benchmarks()[name]


def downloaded(root: str) -> tuple[BenchmarkSettings, ...]:
    """Settings of every benchmark whose files lie below `root` as their authors publish them."""
    return tuple(
        BenchmarkSettings(
            name=name,
            files=tuple(posixpath.join(root, file) for file in benchmark.files),
            images=posixpath.join(root, benchmark.images) if benchmark.images else "",
        )
        for name, benchmark in benchmarks().items()
    )
