"""NoCaps: captions of images whose objects COCO has, partly has, or has not (Agrawal et al., 2019)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmgic.errors import InputError
from mmgic.evaluation.benchmark import Benchmark, Item, Judgement, Score, Scored
from mmgic.evaluation.examples import Examples, write_images
from mmgic.evaluation.files import listed, require
from mmgic.evaluation.predictions import RecordFile
from mmgic.evaluation.scorers.captions import RULE
from mmgic.evaluation.scorers.cider import score_tokens, tokenize_captions
from mmgic.sources.reading.json_files import read_json

DOMAINS = ("in-domain", "near-domain", "out-domain")
IMAGES, IMAGE_NAME = "nocaps/images", "{:016x}.jpg"


def read(files: Sequence[str]) -> dict[str, list[Item]]:
    """The images of the file with their references, of which the test set's file has none."""
    if len(files) != 1:
        raise InputError(f"NoCaps has one file of images and references, not {len(files)}; name one")
    [path] = files
    document = read_json(path)
    if not isinstance(document, dict) or "images" not in document:
        raise InputError(f"{path} is no NoCaps file: it needs 'images', and 'annotations' with the references")
    references: dict[int, list[str]] = {}
    for number, record in listed(document.get("annotations") or [], path):
        image_id = require(record, "image_id", int, path, number)
        references.setdefault(image_id, []).append(require(record, "caption", str, path, number))
    items = [_item(record, references, path, number) for number, record in listed(document["images"], path)]
    if len({item.id for item in items}) < len(items):
        raise InputError(f"{path} has an image id twice; take the authors' file")
    return {"": items}


def _item(record: Mapping[str, Any], references: Mapping[int, list[str]], path: str, number: int) -> Item:
    image_id, domain = require(record, "id", int, path, number), record.get("domain")
    if domain is not None and domain not in DOMAINS:
        raise InputError(f"image {image_id} of {path} has domain {domain!r}; it must be one of {', '.join(DOMAINS)}")
    return Item(
        image_id,
        "image_caption",
        images=(require(record, "file_name", str, path, number),),
        target=tuple(references.get(image_id, ())),
        metadata={"domain": domain},
    )


def score(items: Sequence[Item], answers: Sequence[str]) -> Scored:
    """CIDEr of all images, and of each domain's as a corpus of its own: it is no part of the whole's."""
    captions, references = tokenize_captions(answers, [item.target for item in items])
    found = score_tokens(captions, references)
    scores = {"entire": Score(found.cider, "x100")}
    for domain in DOMAINS:
        own = [i for i, item in enumerate(items) if item.metadata["domain"] == domain]
        if own:
            of_domain = score_tokens([captions[i] for i in own], [references[i] for i in own])
            scores |= {domain: Score(of_domain.cider, "x100"), f"{domain} images": Score(len(own), "count")}
    notes = () if len(scores) > 1 else ("no scores by domain: the file's images have no 'domain'",)
    verdicts = [Judgement(value, text.strip()) for value, text in zip(found.per_image, answers, strict=True)]
    return Scored(scores, verdicts, notes)


def write_examples(examples: Examples, root: Path) -> None:
    """Writes the validation file with every picture; the domains take turns."""
    write_images(examples, root / IMAGES, IMAGE_NAME)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for i, picture in enumerate(examples.pictures):
        size = {"width": picture.width, "height": picture.height}
        name = {"file_name": IMAGE_NAME.format(picture.id), "open_images_id": f"{picture.id:016x}"}
        images.append({"id": i, **name, **size, "domain": DOMAINS[i % len(DOMAINS)]})
        annotations += [
            {"id": len(annotations) + k, "image_id": i, "caption": caption}
            for k, caption in enumerate(picture.captions)
        ]
    path = root / BENCHMARK.files[0]
    path.write_text(json.dumps({"images": images, "annotations": annotations}), encoding="utf-8")


BENCHMARK = Benchmark(
    title="NoCaps",
    rule=f"{RULE}, each domain as a corpus of its own",
    headline=("entire", *DOMAINS),
    files=("nocaps/nocaps_val_4500_captions.json",),
    images=IMAGES,
    about_files="the validation file, with 'domain' in its images for the scores by domain",
    predictions=RecordFile(id="image_id", answer="caption"),
    read=read,
    score=score,
    write_examples=write_examples,
    after_pretraining=True,
    server="the nocaps challenge at eval.ai (challenge 355), as they were written",
)
