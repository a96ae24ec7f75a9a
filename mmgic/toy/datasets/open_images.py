"""The toy world as Open Images V6: CSV files, localized narratives, and BigDetection's boxes for its images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from mmgic.toy.datasets.detection import picture
from mmgic.toy.datasets.samples import CaptionedScene, World, write_bytes, write_json
from mmgic.toy.datasets.tables import Record
from mmgic.toy.world.scenes import Scene, Thing
from mmgic.toy.world.words import ATTRIBUTE_DESCRIPTIONS, CATEGORIES, RELATIONSHIP_DESCRIPTIONS

_BOX = "ImageID Source LabelName Confidence XMin XMax YMin YMax IsOccluded IsTruncated IsGroupOf IsDepiction IsInside"
_CLICKS = [f"XClick{number}{axis}" for axis in "XY" for number in range(1, 5)]
_VRD = "ImageID LabelName1 LabelName2 XMin1 XMax1 YMin1 YMax1 XMin2 XMax2 YMin2 YMax2 RelationshipLabel"
_BOX_FIELDS, _VRD_FIELDS = _BOX.replace(" ", ","), _VRD.replace(" ", ",")
_CLASS_IDS = {name: f"/m/0toy{i:02d}" for i, name in enumerate(CATEGORIES)}
_ATTRIBUTE_IDS = {name: f"/m/0att{i:02d}" for i, name in enumerate(ATTRIBUTE_DESCRIPTIONS)}
_DETECTED = {"train": "train/OpenImages", "validation": "val"}  # BigDetection's folders
_PEOPLE = "/m/01g317"  # a class above man, woman and baby: the same region once more
MADE_OF_METAL = "made of metal"  # how this source says "metal"


class _Split:
    """The lines of one split's files."""

    def __init__(self, header: str) -> None:
        self.boxes, self.relations, self.sizes = [header], [_VRD_FIELDS], ["image_id,image_w,image_h"]
        self.narratives: list[Record] = []


def write_open_images(root: Path, world: World, numbers: range, sizes: bool = True) -> None:
    """Writes open_images/: V6 train files (21 columns), V5 validation files (13), narratives, BigDetection's two files.

    Faults: ids that read like numbers, flags of -1, groups and depictions, people boxed twice under two classes,
    repeated and empty boxes, unknown classes, relationships whose ends no box has, lines that are cut short, several
    annotators, images without a size line, without a file or turned by EXIF. BigDetection lacks every eighth box and
    one image in sixteen; its coordinates are whole pixels; its validation file holds other datasets' images too.
    `sizes` adds the files of image sizes that others have made.
    """
    folder = root / "open_images"
    splits = {"train": _Split(",".join([_BOX_FIELDS, *_CLICKS])), "validation": _Split(_BOX_FIELDS)}
    detections: dict[str, dict[str, list[Record]]] = {name: {"images": [], "annotations": []} for name in splits}
    for place, sample in enumerate(world.samples(numbers)):
        rng = world.generator("open_images", sample.number)
        name = "validation" if place % 8 == 7 else "train"
        image_id = _image_id(sample, place)
        if place % 32 != 21:
            write_bytes(folder / name / f"{image_id}.jpg", picture(sample, "turned" if place % 16 == 4 else ""))
        _add(splits[name], sample, image_id, place, rng)
        if place % 16 != 10:
            _detect(detections[name], sample, f"{_DETECTED[name]}/{image_id}.jpg")
        if not place:
            for other in ("objects365_v1_00000001", "000000000001"):  # the second is LVIS's: an image of COCO
                _detect(detections["validation"], sample, f"val/{other}.jpg")
    splits["train"].boxes.insert(2, "0123456789abcdef,xclick")
    for name, split in splits.items():
        _write_split(folder, name, split)
        if sizes:
            _write_text(folder / f"{name}_sizes-00.csv", split.sizes)
    names = [*_CLASS_IDS.items(), ("person", _PEOPLE)]
    _write_text(folder / "class-descriptions-boxable.csv", [f"{i},{name.capitalize()}" for name, i in names])
    labels = {**_ATTRIBUTE_IDS, "(made of)Metal": _ATTRIBUTE_IDS["metal"]}
    del labels["metal"]
    _write_text(folder / "oidv6-attributes-description.csv", ["id,name", *(f"{i},{n}" for n, i in labels.items())])
    predicates = [name.replace(" ", "_") for name in RELATIONSHIP_DESCRIPTIONS]
    _write_text(folder / "oidv6-relationships-description.csv", [f"{name},{name}" for name in predicates])
    categories = [{"id": i, "name": name} for i, name in enumerate(CATEGORIES, start=1)]
    for name, file in (("train", "bigdet_oid_train.json"), ("validation", "bigdet_val.json")):
        write_json(folder / file, {**detections[name], "categories": categories})


def _image_id(sample: CaptionedScene, place: int) -> str:
    """16 hex digits, some of which read like a number."""
    return {2: f"{sample.number:016d}", 3: f"{sample.number}e10".rjust(16, "0")}.get(
        place % 8, f"{sample.number * 0x9E3779B97F4A7C15 % (1 << 64):016x}"
    )


def _add(split: _Split, sample: CaptionedScene, image_id: str, place: int, rng: np.random.Generator) -> None:
    scene = sample.scene
    wide = "XClick1X" in split.boxes[0]
    clicks = [""] if not wide else ["", *["0.500000"] * len(_CLICKS)]
    boxes = [(_CLASS_IDS[thing.category], _edges(thing, scene)) for thing in scene.things]
    lines = list(boxes)
    lines += [
        (_PEOPLE, edges) for thing, (_, edges) in zip(scene.things, boxes, strict=True) if thing.category == "man"
    ]
    if rng.random() < 0.1:
        lines.append(boxes[0])
    if rng.random() < 0.05:
        lines += [("/m/unknown", boxes[0][1]), (boxes[0][0], ("0.5", "0.5", "0.2", "0.4"))]
    for label, edges in lines:
        flags = [str(int(flag)) for flag in rng.choice([0, 1, -1], 5, p=[0.9, 0.05, 0.05])]
        split.boxes.append(",".join([image_id, "xclick", label, "1", *edges, *flags]) + ",".join(clicks))
    for thing, (label, edges) in zip(scene.things, boxes, strict=True):
        short = [f"{float(edge):g}" for edge in edges]  # this file drops trailing zeros
        for attribute in thing.attributes:
            split.relations.append(",".join([image_id, label, _ATTRIBUTE_IDS[attribute], *short, *short, "is"]))
    for relation in scene.relations:
        (first, start), (second, end) = boxes[relation.subject], boxes[relation.object]
        predicate = relation.label.replace(" ", "_")
        split.relations.append(",".join([image_id, first, second, *start, *end, predicate]))
    if rng.random() < 0.1:
        nowhere = ["0.011", "0.022", "0.033", "0.044"]
        split.relations.append(",".join([image_id, boxes[0][0], boxes[0][0], *nowhere, *boxes[0][1], "on"]))
    if place % 4 != 1:
        split.sizes.append(f"{image_id},{scene.width},{scene.height}")
    if place % 3 == 0:
        said = sample.captions[: 1 + int(rng.integers(2))]
        split.narratives += [_narrative(image_id, i, text, rng) for i, text in enumerate(said)]


def _edges(thing: Thing, scene: Scene) -> tuple[str, str, str, str]:
    x, y, w, h = thing.box
    left, right, top, bottom = x / scene.width, (x + w) / scene.width, y / scene.height, (y + h) / scene.height
    return tuple(f"{min(1.0, max(0.0, edge)):.6f}" for edge in (left, right, top, bottom))  # type: ignore[return-value]


def _narrative(image_id: str, annotator: int, caption: str, rng: np.random.Generator) -> Record:
    trace = [
        {"x": round(float(x), 4), "y": round(float(y), 4), "t": i / 10}
        for i, (x, y) in enumerate(rng.random((8, 2)) * 1.2)
    ]
    text = f"In this image we can see {caption[0].lower()}{caption[1:]}"
    return {
        "dataset_id": "open_images",
        "image_id": image_id,
        "annotator_id": annotator,
        "caption": text,
        "timed_caption": [{"utterance": text, "start_time": 0.0, "end_time": 0.8}],
        "traces": [trace],
        "voice_recording": f"{image_id}_{annotator}.ogg",
    }


def _detect(detections: dict[str, list[Record]], sample: CaptionedScene, file_name: str) -> None:
    scene, number = sample.scene, len(detections["images"]) + 1
    detections["images"].append(
        {
            "id": number,
            "file_name": file_name,
            "width": scene.width,
            "height": scene.height,
        }
    )
    for i, thing in enumerate(scene.things):
        box_id = len(detections["annotations"]) + 1
        category = list(CATEGORIES).index(thing.category) + 1
        left, top, right, bottom = thing.box[0], thing.box[1], thing.box[0] + thing.box[2], thing.box[1] + thing.box[3]
        x, y = max(0, round(left)), max(0, round(top))
        box = [x, y, min(scene.width, round(right)) - x, min(scene.height, round(bottom)) - y]
        if (sample.number + i) % 8:
            detections["annotations"].append(
                {"id": box_id, "image_id": number, "category_id": category, "bbox": box, "iscrowd": 0}
            )


def _write_split(folder: Path, name: str, split: _Split) -> None:
    prefix = "oidv6-train" if name == "train" else name
    _write_text(folder / f"{prefix}-annotations-bbox.csv", split.boxes)
    _write_text(folder / f"oidv6-{name}-annotations-vrd.csv", split.relations)
    files = ["open_images_validation_localized_narratives.jsonl"]
    if name == "train":
        files = [f"open_images_train_v6_localized_narratives-0000{i}-of-00002.jsonl" for i in range(2)]
    for i, file in enumerate(files):
        _write_text(folder / file, map(json.dumps, split.narratives[i :: len(files)]))


def _write_text(path: Path, lines: Any) -> None:
    write_bytes(path, "".join(f"{line}\n" for line in lines).encode())
