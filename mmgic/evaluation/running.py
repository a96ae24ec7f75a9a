"""Runs an exported model on the benchmarks of the settings and scores what it says."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch

from mmgic.errors import InputError
from mmgic.evaluation.benchmarks.coco_captions import caption_images, read_caption_images
from mmgic.evaluation.benchmarks.pope import answer_questions
from mmgic.evaluation.engines import check_model
from mmgic.evaluation.exported_model import ExportedModel, load_model
from mmgic.evaluation.scorers.cider import score_captions
from mmgic.evaluation.scorers.pope import read_questions, says_yes, score_answers
from mmgic.evaluation.visual_codes import ImageCodes, other_images
from mmgic.settings import Settings, to_yaml

SCORES_FILE, SETTINGS_FILE, CAPTIONS_FILE = "scores.json", "settings.yaml", "captions.json"
Control = Literal["other_image"]
Record = dict[str, Any]
T = TypeVar("T")


def evaluate(
    settings: Settings, model_folder: str | Path, output_folder: str | Path, control: Control | None = None
) -> dict[str, float]:
    """Scores the exported model of `model_folder` on the captions and POPE files of `settings.evaluation`.

    Returns {"cider", "pope_f1"} as papers print them: CIDEr times 100, and 100 times the mean F1 of the POPE files.
    `output_folder` receives the predictions in the benchmarks' own formats, scores.json, which says what made each
    number, and settings.yaml. With `control="other_image"` the model is given another image's visual tokens.

    Raises InputError for files, images or a model that cannot be used.
    """
    evaluation = settings.evaluation
    check_model(model_folder)
    names, references = _caption_benchmark(settings)
    pope = _pope_benchmarks(settings)
    if not names and not pope:
        raise InputError("there is nothing to evaluate on; set evaluation.captions or evaluation.pope")

    codes = ImageCodes(settings.vision, settings.seed)
    caption_codes = _codes_seen(codes, evaluation.caption_images, names.values(), control)
    asked = [question["image"] for questions in pope.values() for question in questions]
    pope_codes = _codes_seen(codes, evaluation.pope_images, asked, control)
    del codes  # the visual tokenizer's place on the GPU is the engine's now
    torch.cuda.empty_cache()

    model = load_model(model_folder, evaluation.engine, evaluation.batch_size)
    folder = Path(output_folder)
    folder.mkdir(parents=True, exist_ok=True)
    results = []
    if names:
        by_id = {image_id: caption_codes[name] for image_id, name in names.items()}
        results.append(_score_captions(model, by_id, references, settings, folder))
    for path, questions in pope.items():
        results.append(_score_pope(model, pope_codes, questions, path, settings, folder))
    summary = _summary(results)
    report = {
        "scores": summary,
        "model": str(model_folder),
        "control": control,
        "engine": evaluation.engine,
        "preset": settings.preset,
        "seed": settings.seed,
        "visual_tokenizer": settings.vision.checkpoint,
        "benchmarks": results,
    }
    (folder / SETTINGS_FILE).write_text(to_yaml(settings), encoding="utf-8")
    (folder / SCORES_FILE).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return summary


def _caption_benchmark(settings: Settings) -> tuple[dict[Any, str], dict[Any, list[str]]]:
    """(file name, references) by image id of the captioning benchmark; empty where the settings name none."""
    if not settings.evaluation.captions:
        return {}, {}
    names, references = read_caption_images(settings.evaluation.captions)
    return dict(_first(names.items(), settings)), references


def _pope_benchmarks(settings: Settings) -> dict[str, list[Record]]:
    """The questions about the images that are looked at, by POPE file."""
    files = settings.evaluation.pope
    if len({Path(path).stem for path in files}) < len(files):
        raise InputError(
            "two files of evaluation.pope have one name; rename one, as their answers are named after them"
        )
    benchmarks = {}
    for path in files:
        questions = read_questions(path)
        images = set(_first(dict.fromkeys(question["image"] for question in questions), settings))
        benchmarks[path] = [question for question in questions if question["image"] in images]
    return benchmarks


def _first(values: Iterable[T], settings: Settings) -> Iterable[T]:
    return islice(values, settings.evaluation.max_images or None)


def _codes_seen(codes: ImageCodes, folder: str, names: Iterable[str], control: Control | None) -> dict[str, list[int]]:
    """The visual codes that the model is given for each image: its own, or under the control another image's."""
    own = codes(folder, dict.fromkeys(names))
    return {name: own[other] for name, other in other_images(own).items()} if control and own else own


def _score_captions(
    model: ExportedModel,
    codes: Mapping[Any, Sequence[int]],
    references: Mapping[Any, list[str]],
    settings: Settings,
    folder: Path,
) -> Record:
    """Captions the images, writes the result file into `folder` and returns its scores."""
    captions = caption_images(model, codes, settings.evaluation.max_new_tokens)
    (folder / CAPTIONS_FILE).write_text(json.dumps(captions, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    predictions = {record["image_id"]: record["caption"] for record in captions}
    score = score_captions(predictions, {image_id: references[image_id] for image_id in codes})
    return {
        "benchmark": "coco-caption",
        "annotations": settings.evaluation.captions,
        "predictions": CAPTIONS_FILE,
        "images": len(codes),
        "references": score.references,
        "CIDEr": score.cider,
    }


def _score_pope(
    model: ExportedModel,
    codes: Mapping[str, Sequence[int]],
    questions: Sequence[Record],
    path: str,
    settings: Settings,
    folder: Path,
) -> Record:
    """Answers the questions, writes the answers into `folder` and returns their scores."""
    answers = answer_questions(model, codes, questions, settings.documents.system_prompt)
    predictions = folder / f"{Path(path).stem}_answers.json"
    predictions.write_text("".join(json.dumps(answer) + "\n" for answer in answers), encoding="utf-8")
    yes = [says_yes(answer["answer"]) for answer in answers]
    return {
        "benchmark": "pope",
        "annotations": path,
        "predictions": predictions.name,
        "images": len({question["image"] for question in questions}),
        **asdict(score_answers(yes, [question["label"] == "yes" for question in questions])),
    }


def _summary(results: Sequence[Record]) -> dict[str, float]:
    """The numbers that papers print, of the benchmarks that were run."""
    cider = [result["CIDEr"] for result in results if result["benchmark"] == "coco-caption"]
    f1 = [result["f1"] for result in results if result["benchmark"] == "pope"]
    means = {"cider": cider, "pope_f1": f1}
    return {name: 100 * sum(values) / len(values) for name, values in means.items() if values}
