"""COCO captioning on Karpathy's test split: 5,000 images with five references or six (Chen et al., 2015)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmgic.errors import InputError
from mmgic.evaluation.benchmark import Benchmark, Item, ItemId
from mmgic.evaluation.examples import Examples, write_images
from mmgic.evaluation.files import listed, require
from mmgic.evaluation.predictions import RecordFile
from mmgic.evaluation.scorers.captions import RULE, scored_captions
from mmgic.sources.reading.json_files import read_json

IMAGES, IMAGE_NAME = "coco/val2014", "COCO_val2014_{:012d}.jpg"


def read(files: Sequence[str]) -> dict[str, list[Item]]:
    """The images that have references, of Karpathy's dataset_coco.json (its test split) or of a COCO captions file."""
    if len(files) != 1:
        raise InputError(f"COCO captioning has one file of references, not {len(files)}; name one")
    [path] = files
    document = read_json(path)
    images = document.get("images") if isinstance(document, dict) else None
    if isinstance(images, list) and any(isinstance(image, dict) and "sentences" in image for image in images):
        return {"": _read_karpathy(images, path)}
    return {"": _read_coco(document, path)}


def _read_karpathy(records: list[Any], path: str) -> list[Item]:
    items = []
    for number, record in listed(records, path):
        if record.get("split") == "test":
            image_id = require(record, "cocoid", int, path, number)
            sentences = listed(require(record, "sentences", list, path, number), path)
            references = tuple(require(sentence, "raw", str, path, number) for _, sentence in sentences)
            items.append(_item(image_id, require(record, "filename", str, path, number), references))
    if not items:
        raise InputError(f"{path} has no image whose split is test; use Karpathy's dataset_coco.json of COCO")
    return items


def _read_coco(document: Any, path: str) -> list[Item]:
    records = document.get("annotations") if isinstance(document, dict) else None
    if not isinstance(records, list) or not records:
        raise InputError(f"{path} is no COCO captions file: it needs 'annotations', a list of image_id and caption")
    references: dict[ItemId, list[str]] = {}
    for number, record in listed(records, path):
        image_id = require(record, "image_id", (int, str), path, number)
        references.setdefault(image_id, []).append(require(record, "caption", str, path, number))
    images = listed(document.get("images") or [], path)
    names = {require(image, "id", (int, str), path, number): image.get("file_name") for number, image in images}
    return [_item(image_id, names.get(image_id), tuple(texts)) for image_id, texts in references.items()]


def _item(image_id: ItemId, file_name: str | None, references: tuple[str, ...]) -> Item:
    """A file of references need not name its images, as long as it is only scored against."""
    return Item(image_id, "image_caption", images=(file_name,) if file_name else (), target=references)


def write_examples(examples: Examples, root: Path) -> None:
    """Writes Karpathy's file with all pictures in its test split."""
    write_images(examples, root / IMAGES, IMAGE_NAME)
    images, sentence_id = [], 0
    for number, picture in enumerate(examples.pictures):
        sentences = [
            {"tokens": caption.lower().strip(".").split(), "raw": caption, "imgid": number, "sentid": sentence_id + i}
            for i, caption in enumerate(picture.captions)
        ]
        sentence_id += len(sentences)
        image = {"filepath": "val2014", "filename": IMAGE_NAME.format(picture.id), "imgid": number, "split": "test"}
        ids = [sentence["sentid"] for sentence in sentences]
        images.append({**image, "sentids": ids, "sentences": sentences, "cocoid": picture.id})
    path = root / BENCHMARK.files[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": images, "dataset": "coco"}), encoding="utf-8")


BENCHMARK = Benchmark(
    title="COCO captions",
    rule=RULE,
    headline=("CIDEr",),
    files=("karpathy/dataset_coco.json",),
    images=IMAGES,
    about_files="Karpathy's dataset_coco.json, whose test split is taken, or a COCO captions file with the references",
    predictions=RecordFile(id="image_id", answer="caption"),
    read=read,
    score=scored_captions,
    write_examples=write_examples,
    after_pretraining=True,
)
