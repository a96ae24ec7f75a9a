"""The toy world's evaluation scenes as benchmark files: COCO captions and the three POPE settings."""

from __future__ import annotations

from collections import Counter
from itertools import permutations
from typing import Any, Literal

from mmgic.schema import record_generator
from mmgic.toy.datasets.tables import caption_records
from mmgic.toy.world.scenes import Scene
from mmgic.toy.world.text import existence_question
from mmgic.toy.world.words import CATEGORIES

Negatives = Literal["random", "popular", "adversarial"]
NEGATIVES: tuple[Negatives, ...] = ("random", "popular", "adversarial")
_PAIRS = 3  # questions with each answer per image, as in POPE


def caption_file(scenes: dict[int, Scene], captions: dict[int, list[str]]) -> dict[str, Any]:
    """captions_val2017.json of `scenes` by image id."""
    images = [
        {"id": image_id, "file_name": image_name(image_id), "width": scene.width, "height": scene.height}
        for image_id, scene in scenes.items()
    ]
    annotations = [record for image_id in scenes for record in caption_records(image_id, captions[image_id])]
    return {"info": {"description": "toy world"}, "licenses": [], "images": images, "annotations": annotations}


def image_name(image_id: int) -> str:
    return f"{image_id:012d}.jpg"


def pope_questions(scenes: dict[int, Scene], negatives: Negatives, seed: int) -> list[dict[str, Any]]:
    """The rows of one POPE file: for every image with three objects or more, three questions of each answer.

    The absent objects are drawn at random, are the most frequent ones of `scenes`, or are those that most often occur
    together with the objects of the image (Li et al., 2023c).
    """
    frequency = Counter(name for scene in scenes.values() for name in scene.categories)
    together = Counter(pair for scene in scenes.values() for pair in permutations(scene.categories, 2))
    rows: list[dict[str, Any]] = []
    for image_id, scene in scenes.items():
        if len(scene.categories) < _PAIRS:
            continue
        # the same present objects in the three files
        present = record_generator(seed, "toy pope yes", "eval", str(image_id)).permutation(scene.categories)
        absent = [name for name in CATEGORIES if name not in scene.categories]
        if negatives == "random":
            rng = record_generator(seed, "toy pope no", "eval", str(image_id))
            absent = [str(name) for name in rng.permutation(absent)]
        elif negatives == "popular":
            absent.sort(key=lambda name: -frequency[name])
        else:
            absent.sort(key=lambda name: -sum(together[name, other] for other in scene.categories))
        for yes, no in zip(present[:_PAIRS], absent[:_PAIRS], strict=True):
            for name, label in ((str(yes), "yes"), (no, "no")):
                rows.append(
                    {
                        "question_id": len(rows) + 1,
                        "image": image_name(image_id),
                        "text": existence_question(name),
                        "label": label,
                    }
                )
    return rows
