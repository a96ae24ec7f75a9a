"""Runs an exported model on the benchmarks of the settings and scores what it says."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Literal

import torch

from mmgic.evaluation.answering import answer_items
from mmgic.evaluation.benchmark import Answered, Item, ItemAnswer, image_name
from mmgic.evaluation.engines import Advance, check_model, untold
from mmgic.evaluation.exported_model import ExportedModel, load_model
from mmgic.evaluation.items import benchmarks_of, items_of
from mmgic.evaluation.registry import find
from mmgic.evaluation.results import ITEMS_FILE, AskedItem, BenchmarkResult, Results, write_items, write_results
from mmgic.evaluation.scoring import benchmark_result, headline_of, score_part
from mmgic.evaluation.templates import Sweep, posed, template_names
from mmgic.evaluation.visual_codes import ImageCodes, other_images
from mmgic.files import write_text
from mmgic.settings import BenchmarkSettings, Settings, to_yaml
from mmgic.stages.progress import counted

SETTINGS_FILE = "settings.yaml"
Control = Literal["other_image"]
Codes = Mapping[str, Sequence[int]]  # an image's visual codes by its name


def evaluate(
    settings: Settings,
    model_folder: str | Path,
    output_folder: str | Path,
    control: Control | None = None,
    codes: Mapping[BenchmarkSettings, Codes] | None = None,
) -> Results:
    """Scores the exported model of `model_folder` on the benchmarks of `settings.evaluation`.

    `output_folder` receives the predictions in the benchmarks' own formats, scores.json, which says what made each
    number, items.jsonl and settings.yaml. With `control="other_image"` the model is given another image's visual
    tokens. `codes` are those of `visual_codes`, for a caller that scores several models.

    Raises InputError for files, images or a model that cannot be used.
    """
    check_model(model_folder)
    items = {benchmark: items_of(benchmark, settings) for benchmark in benchmarks_of(settings)}
    own = visual_codes(settings) if codes is None else codes
    seen = {benchmark: _of_other_images(found) if control else found for benchmark, found in own.items()}
    asked_as, gpus = settings.evaluation, settings.cluster.evaluation_gpus
    model = load_model(model_folder, asked_as.engine, asked_as.batch_size, gpus, asked_as.prompt)
    folder = Path(output_folder)
    folder.mkdir(parents=True, exist_ok=True)
    asked: list[AskedItem] = []
    found = []
    for benchmark, parts in items.items():
        result, answered = _run_benchmark(model, benchmark, parts, seen[benchmark], settings, folder)
        found.append(result)
        asked += answered
    results = Results(
        model=str(model_folder),
        control=control,
        engine=settings.evaluation.engine,
        prompt=model.form,
        preset=settings.preset,
        seed=settings.seed,
        visual_tokenizer=settings.vision.checkpoint,
        benchmarks=tuple(found),
    )
    write_items(folder / ITEMS_FILE, asked)
    write_text(str(folder / SETTINGS_FILE), to_yaml(settings))
    write_results(folder, results)
    return results


def visual_codes(settings: Settings) -> Mapping[BenchmarkSettings, Codes]:
    """The codes of the images of each benchmark of the settings. Raises InputError for files that cannot be used."""
    image_codes = ImageCodes(settings.vision, settings.seed, settings.cluster.evaluation_gpus)
    codes = {}
    for benchmark in benchmarks_of(settings):
        items = chain.from_iterable(items_of(benchmark, settings).values())
        codes[benchmark] = image_codes(benchmark.images, [image for item in items for image in item.images])
    del image_codes  # the visual tokenizer's place on the GPU is the engine's now
    torch.cuda.empty_cache()
    return codes


def _of_other_images(codes: Codes) -> Codes:
    return {name: codes[other] for name, other in other_images(codes).items()} if codes else codes


def _run_benchmark(
    model: ExportedModel,
    benchmark: BenchmarkSettings,
    parts: Mapping[str, Sequence[Item]],
    codes: Codes,
    settings: Settings,
    folder: Path,
) -> tuple[BenchmarkResult, list[AskedItem]]:
    """Answers the items of all parts, writes the answers into `folder` and scores them."""
    form = find(benchmark.name).predictions
    first, *others = template_names(settings.evaluation.template)
    results, asked = [], []
    for part, items in parts.items():
        with counted(" ".join(filter(None, (benchmark.name, part))), len(items), "answers") as advance:
            answers = _answers(model, benchmark.name, items, codes, settings, first, advance)
        predictions = "_".join(filter(None, (benchmark.name, part))) + form.suffix
        form.write(folder / predictions, items, answers)
        texts = [answer.text for answer in answers]
        result, scored = score_part(benchmark.name, part, Answered(items, texts), predictions)
        if others and any(item.choices for item in items):
            scores = {first: headline_of(benchmark.name, result)}
            for name in others:
                texts = [answer.text for answer in _answers(model, benchmark.name, items, codes, settings, name)]
                scores[name] = headline_of(
                    benchmark.name, score_part(benchmark.name, part, Answered(items, texts), "")[0]
                )
            result = replace(result, notes=(*result.notes, *Sweep(scores).lines()))
        results.append(result)
        asked += [
            replace(item, images=_paths(benchmark, found.images), logprobs=dict(answer.logprobs))
            for item, found, answer in zip(scored, items, answers, strict=True)
        ]
    return benchmark_result(benchmark.name, benchmark.files, results), asked


def _answers(
    model: ExportedModel,
    name: str,
    items: Sequence[Item],
    codes: Codes,
    settings: Settings,
    template: str,
    advance: Advance = untold,
) -> list[ItemAnswer]:
    """The answers to items of the benchmark `name` in the words of a template, as its files have them."""
    answers = answer_items(model, [posed(template)(item) for item in items], codes, settings, advance)
    if not find(name).plain:
        return answers
    return [replace(answer, text=answer.text.rstrip(".").lower()) for answer in answers]


def _paths(benchmark: BenchmarkSettings, images: Sequence[str | bytes]) -> list[str]:
    """Where the images are; a digest for an image that the benchmark's files hold."""
    return [os.path.join(benchmark.images, image) if isinstance(image, str) else image_name(image) for image in images]
