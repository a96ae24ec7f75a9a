"""Writes a toy world to disk in the datasets' own formats.

visual_genome/   image_data.json objects.json attributes.json relationships.json captions.json VG_100K/ VG_100K_2/
objects365/      annotations/zhiyuan_objv2_train.json captions.json images/v1/patchN/
vqav2/           v2_OpenEnded_mscoco_train2014_questions.json v2_mscoco_train2014_annotations.json train2014/
coco/            annotations/captions_val2017.json images/val2017/        evaluation scenes
pope/            coco_pope_{random,popular,adversarial}.json              on the images of coco/images/val2017
descriptions.jsonl                                                        what each label means
world.json                                                                what the folder holds
"""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmgic.errors import InputError
from mmgic.schema import record_generator
from mmgic.toy import benchmarks, text, words
from mmgic.toy.render import render
from mmgic.toy.scenes import Scene, Split, make_scene
from mmgic.toy.sources import Objects365, VisualGenome, VQAv2

VERSION = 1  # raised whenever the same seed gives other bytes
_EVALUATION_IDS = 100_000  # image ids of evaluation scenes lie above those of training scenes


@dataclass(frozen=True)
class WorldSummary:
    """What a world holds; the content of its world.json."""

    version: int
    seed: int
    scenes: int  # training scenes
    evaluation_scenes: int
    visual_genome_images: int
    objects365_images: int
    vqav2_images: int


def make_world(
    output: Path, scenes: int, seed: int, progress: Callable[[int, int], None] | None = None
) -> WorldSummary:
    """Writes the world of `seed` with `scenes` training scenes and max(64, scenes // 20) evaluation scenes to `output`.

    The same arguments give the same bytes. A folder that already holds this world is left as it is; the folder appears
    only when it is complete. `progress` is called with (scenes done, scenes in all). Raises InputError where `output`
    holds anything else or `scenes` is not between 1 and 100,000.
    """
    if not 1 <= scenes <= _EVALUATION_IDS:
        raise InputError(f"a toy world has between 1 and {_EVALUATION_IDS} scenes, not {scenes}")
    evaluation = max(64, scenes // 20)
    summary = WorldSummary(VERSION, seed, scenes, evaluation, (scenes + 1) // 2, scenes // 2, scenes)
    output = Path(output)
    if output.is_file() or (output.is_dir() and any(output.iterdir())):
        if _holds(output, summary):
            return summary
        raise InputError(
            f"{output} holds something else than the toy world of seed {seed} with {scenes} scenes; "
            "delete it or choose another folder"
        )
    partial = output.with_name(f"{output.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    report = progress or (lambda done, total: None)
    total = scenes + evaluation
    _write_training(partial, scenes, seed, lambda done: report(done, total))
    _write_evaluation(partial, evaluation, seed, lambda done: report(scenes + done, total))
    _write_lines(partial / "descriptions.jsonl", descriptions())
    _write_json(partial / "world.json", asdict(summary))
    os.replace(partial, output)
    return summary


def descriptions() -> list[dict[str, str]]:
    """The rows of descriptions.jsonl: `kind` (object, attribute or relationship), `label` and `description`."""
    meanings = {
        "object": {category.name: category.description for category in words.CATEGORIES.values()},
        "attribute": words.ATTRIBUTE_DESCRIPTIONS,
        "relationship": words.RELATIONSHIP_DESCRIPTIONS,
    }
    return [
        {"kind": kind, "label": label, "description": text.sentence(meaning)}
        for kind, labels in meanings.items()
        for label, meaning in labels.items()
    ]


def scene_captions(scene: Scene, seed: int, split: Split, index: int) -> list[str]:
    """The captions of scene `index`: two or three of a training scene, three to five of an evaluation scene."""
    rng = record_generator(seed, "toy captions", split, str(index))
    low, high = (2, 3) if split == "train" else (3, 5)
    return text.captions(scene, rng, int(rng.integers(low, high + 1)))


def _holds(output: Path, summary: WorldSummary) -> bool:
    try:
        found = json.loads((output / "world.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(found == asdict(summary))


def _write_training(root: Path, scenes: int, seed: int, progress: Callable[[int], None]) -> None:
    visual_genome, objects365, vqav2 = VisualGenome(), Objects365(), VQAv2()
    for index in range(scenes):
        scene, image_id = make_scene(seed, "train", index), index + 1
        jpeg = _jpeg(scene)
        captions = scene_captions(scene, seed, "train", index)
        rng = record_generator(seed, "toy tables", "train", str(index))
        if index % 2 == 0:
            _write_bytes(root / "visual_genome" / visual_genome.add(scene, image_id, captions, rng), jpeg)
        else:
            _write_bytes(root / "objects365" / objects365.add(scene, image_id, captions, rng), jpeg)
        _write_bytes(root / "vqav2" / vqav2.add(scene, image_id, rng), jpeg)
        progress(index + 1)
    for name, records in visual_genome.tables.items():
        _write_json(root / "visual_genome" / f"{name}.json", records)
    _write_json(root / "visual_genome/captions.json", _captions(visual_genome.captions))
    _write_json(root / "objects365/annotations/zhiyuan_objv2_train.json", objects365.detections)
    _write_json(root / "objects365/captions.json", _captions(objects365.captions))
    _write_json(root / "vqav2/v2_OpenEnded_mscoco_train2014_questions.json", vqav2.questions)
    _write_json(root / "vqav2/v2_mscoco_train2014_annotations.json", vqav2.annotations)


def _write_evaluation(root: Path, scenes: int, seed: int, progress: Callable[[int], None]) -> None:
    by_id, captions = {}, {}
    for index in range(scenes):
        image_id = _EVALUATION_IDS + index + 1
        by_id[image_id] = make_scene(seed, "eval", index)
        captions[image_id] = scene_captions(by_id[image_id], seed, "eval", index)
        _write_bytes(root / "coco/images/val2017" / benchmarks.image_name(image_id), _jpeg(by_id[image_id]))
        progress(index + 1)
    _write_json(root / "coco/annotations/captions_val2017.json", benchmarks.caption_file(by_id, captions))
    for negatives in benchmarks.NEGATIVES:
        rows = benchmarks.pope_questions(by_id, negatives, seed)
        _write_lines(root / f"pope/coco_pope_{negatives}.json", rows)


def _captions(records: list[dict[str, Any]]) -> dict[str, Any]:
    images = [{"id": image_id} for image_id in dict.fromkeys(record["image_id"] for record in records)]
    return {"images": images, "annotations": records}


def _jpeg(scene: Scene) -> bytes:
    file = io.BytesIO()
    render(scene).save(file, "JPEG", quality=95, subsampling=0)
    return file.getvalue()


def _write_bytes(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _write_json(path: Path, content: Any) -> None:
    _write_bytes(path, json.dumps(content).encode())


def _write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    _write_bytes(path, "".join(f"{json.dumps(row)}\n" for row in rows).encode())
