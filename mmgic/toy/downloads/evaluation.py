"""What the scores are taken on: COCO's val2014, Karpathy's splits of it, and POPE's questions about it.

karpathy/  dataset_coco.json
coco/      annotations/captions_val2014.json val2014/
pope/      coco_pope_{random,popular,adversarial}.json
"""

from __future__ import annotations

from pathlib import Path

from mmgic.toy.datasets import benchmarks
from mmgic.toy.datasets.samples import World, write_bytes, write_json, write_lines
from mmgic.toy.datasets.tables import Record
from mmgic.toy.downloads.detection import karpathy_record

_FIRST_ID = 100_000  # ids of evaluation scenes lie above those of training scenes
_PREFIX = "COCO_val2014_"
_SPLITS = ("test", "test", "val", "restval")


def write_evaluation(data: Path, world: World, scenes: int, karpathy: list[Record]) -> None:
    """`karpathy` are the records of the training images that are COCO's."""
    by_id, captions, records = {}, {}, list(karpathy)
    for sample in world.samples(range(scenes), "eval"):
        image_id = _FIRST_ID + sample.image_id
        by_id[image_id], captions[image_id] = sample.scene, sample.captions
        records.append(karpathy_record(image_id, _SPLITS[sample.number % len(_SPLITS)], sample.captions))
        write_bytes(data / f"coco/val2014/{_PREFIX}{benchmarks.image_name(image_id)}", sample.jpeg())
    write_json(data / "karpathy/dataset_coco.json", {"images": records, "dataset": "coco"})
    file = benchmarks.caption_file(by_id, captions)
    images = [{**image, "file_name": f"{_PREFIX}{image['file_name']}"} for image in file["images"]]
    write_json(data / "coco/annotations/captions_val2014.json", {**file, "images": images})
    for negatives in benchmarks.NEGATIVES:
        rows = benchmarks.pope_questions(by_id, negatives, world.seed)
        write_lines(
            data / f"pope/coco_pope_{negatives}.json", [{**row, "image": f"{_PREFIX}{row['image']}"} for row in rows]
        )
