"""The toy world as Objects365 v1, V3Det and a Visual Genome of ambiguous words, with the faults of the real files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmgic.toy.datasets.samples import CaptionedScene, World, write_bytes, write_json
from mmgic.toy.datasets.tables import Record, VisualGenome, caption_file
from mmgic.toy.world.render import render
from mmgic.toy.world.scenes import Scene
from mmgic.toy.world.words import CATEGORIES

_ROTATED_TAG = 6  # EXIF: to be shown a quarter turned to the right
_OLD_CAR = "bus.n.04"  # WordNet: a car that is old and unreliable
_KITE_BIRD = "A bird of prey with narrow wings that glides over open country."


def picture(sample: CaptionedScene, fault: str = "") -> bytes:
    """The scene's JPEG file, or one with a `fault`: cut (it breaks off) or turned (an EXIF tag asks to rotate it)."""
    if fault == "cut":
        content = sample.jpeg()
        return content[: len(content) // 3]
    if fault == "turned":
        file = io.BytesIO()
        exif = Image.Exif()
        exif[0x0112] = _ROTATED_TAG
        render(sample.scene).save(file, "JPEG", quality=95, subsampling=0, exif=exif)
        return file.getvalue()
    return sample.jpeg()


# ---------------------------------------------------------------- Objects365 v1


def write_objects365_v1(root: Path, world: World, numbers: range) -> None:
    """Writes objects365_v1/: objects365_train.json, captions.json and train/.

    Faults: files that are missing, cut short or turned by EXIF, sizes of the turned picture, records without a size or
    a file name, boxes that are repeated, empty, outside their image, without numbers or of no known category or image.
    """
    folder = root / "objects365_v1"
    names = sorted(CATEGORIES)
    images: list[Record] = []
    annotations: list[Record] = []
    captions: list[Record] = []
    for place, sample in enumerate(world.samples(numbers)):
        rng = world.generator("objects365_v1", sample.number)
        scene, image_id = sample.scene, sample.image_id
        name = f"obj365_train_{image_id:012d}.jpg"
        record = {"id": image_id, "width": scene.width, "height": scene.height, "file_name": name}
        fault = {3: "missing", 11: "cut", 19: "turned", 27: "turned"}.get(place % 32, "")
        if place % 32 == 27:
            record |= {"width": scene.height, "height": scene.width}
        if place % 64 == 33:
            del record["width"]
        if place % 64 == 41:
            del record["file_name"]
        if fault != "missing":
            write_bytes(folder / "train" / name, picture(sample, fault))
        images.append(record)
        captions += [
            {"image_id": image_id, "id": image_id * 10 + i, "caption": text} for i, text in enumerate(sample.captions)
        ]
        boxes = [(names.index(thing.category) + 1, [round(edge, 3) for edge in thing.box]) for thing in scene.things]
        for category, box in [*boxes, *_faulty_boxes(boxes, scene, rng)]:
            annotations.append(
                {"id": len(annotations) + 1, "image_id": image_id, "category_id": category, "bbox": box, "iscrowd": 0}
            )
    annotations.append({"id": 0, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "iscrowd": 0})
    annotations.append({"id": len(annotations), "image_id": images[0]["id"], "iscrowd": 0})
    categories = [{"name": name, "id": i} for i, name in reversed(list(enumerate(names, start=1)))]
    write_json(
        folder / "objects365_train.json", {"annotations": annotations, "categories": categories, "images": images}
    )
    write_json(folder / "captions.json", caption_file(captions))


def _faulty_boxes(boxes: list[Any], scene: Scene, rng: np.random.Generator) -> list[Any]:
    category, box = boxes[0]
    faults = [
        boxes[0],
        (category, [box[0], box[1], 0, box[3]]),
        (category, [box[0], box[1], -box[2], box[3]]),
        (category, [scene.width - 5.0, 5.0, 40.0, 20.0]),
        (category, [box[0], None, box[2], box[3]]),
        (999, box),
    ]
    return [faults[int(rng.integers(len(faults)))]] if rng.random() < 0.2 else []


# ---------------------------------------------------------------- V3Det


def write_v3det(root: Path, world: World, numbers: range) -> None:
    """Writes v3det/: annotations/v3det_2023_v1_{train,val}.json and images/<node>/.

    Its categories describe themselves. Two are named kite (a toy and a bird), one occurs once; some boxes name a list
    of categories, as in the pre-release files; some images could not be downloaded.
    """
    folder = root / "v3det"
    categories = [_v3det_category(i, *entry) for i, entry in enumerate(_v3det_entries(), start=1)]
    ids = {record["name"]: record["id"] for record in reversed(categories)}  # kite: the toy
    bird = next(record["id"] for record in categories if record["cat_info"] == _KITE_BIRD)
    splits: dict[str, dict[str, list[Record]]] = {s: {"images": [], "annotations": []} for s in ("train", "val")}
    for place, sample in enumerate(world.samples(numbers)):
        rng = world.generator("v3det", sample.number)
        split = splits["val" if place % 8 == 7 else "train"]
        scene, image_id = sample.scene, len(split["images"]) + 1  # train and val count alike
        name = f"images/n{sample.number % 5:08d}/{sample.number}_c.jpg"
        split["images"].append({"id": image_id, "file_name": name, "height": scene.height, "width": scene.width})
        if place % 32 != 13:
            write_bytes(folder / name, picture(sample))
        for thing in scene.things:
            category = bird if thing.category == "bird" and rng.random() < 0.7 else ids[thing.category]
            record = {
                "id": len(split["annotations"]) + 1,
                "image_id": image_id,
                "category_id": [category] if place % 16 == 5 else category,
                "bbox": list(thing.box),
                "iscrowd": 0,
                "area": thing.box[2] * thing.box[3],
            }
            split["annotations"].append(record)
        if place == 0:
            split["annotations"].append({**record, "id": len(split["annotations"]) + 1, "category_id": ids["doodad"]})
    for name, split in splits.items():
        if split["images"]:
            write_json(folder / f"annotations/v3det_2023_v1_{name}.json", {**split, "categories": categories})


def _v3det_entries() -> list[tuple[str, str]]:
    own = [
        (category.name, f"{category.description[0].upper()}{category.description[1:]}.")
        for category in CATEGORIES.values()
    ]
    return [*own, ("kite", _KITE_BIRD), ("doodad", "Something whose name nobody can think of.")]


def _v3det_category(number: int, name: str, description: str) -> Record:
    return {
        "id": number,
        "name": name,
        "name_zh": "",
        "cat_info": [description] if number == 1 else description,
        "cat_info_gpt": f"{description} It is a common sight.",
        "novel": False,
    }


# ---------------------------------------------------------------- Visual Genome


def write_ambiguous_visual_genome(root: Path, world: World, numbers: range) -> None:
    """Writes visual_genome_ambiguous/: Visual Genome's tables if one word has several synsets, and split files.

    Cars are called buses now and then (an old car, bus.n.04, beside bus.n.01). Images carry COCO and Flickr ids:
    dataset_coco.json gives the COCO ones Karpathy's splits, flickr30k/ lists photo ids; a few image files are cut short
    or turned by EXIF, and a few records lack their size or url.
    """
    folder = root / "visual_genome_ambiguous"
    tables = VisualGenome()
    karpathy: list[Record] = []
    photos = []
    for place, sample in enumerate(world.samples(numbers)):
        rng = world.generator("visual_genome_ambiguous", sample.number)
        path = tables.add(sample.scene, sample.image_id, sample.captions, rng)
        write_bytes(folder / path, picture(sample, {5: "cut", 9: "turned"}.get(place % 32, "")))
        image = tables.tables["image_data"][-1]
        if place % 4 == 1:
            image["coco_id"] = sample.image_id
            split = ("train", "val", "test", "restval")[place // 4 % 4]
            karpathy.append({"cocoid": sample.image_id, "split": split, "filename": f"{sample.image_id}.jpg"})
        elif place % 4 == 3:
            image["flickr_id"] = sample.image_id
            photos += [sample.image_id] if place % 8 == 3 else []
        if place % 64 == 34:
            del image["height"]
        if place % 64 == 42:
            del image["url"]
        for record in tables.tables["objects"][-1]["objects"]:
            if record["names"][0].strip().lower() == "car" and rng.random() < 0.7:
                record |= {"names": ["bus"], "synsets": [_OLD_CAR]}
    for name, records in tables.tables.items():
        write_json(folder / f"{name}.json", records)
    write_json(folder / "captions.json", caption_file(tables.captions))
    write_json(
        folder / "dataset_coco.json", {"images": karpathy or [{"cocoid": 0, "split": "train"}], "dataset": "coco"}
    )
    write_bytes(folder / "flickr30k/train.txt", "\n".join(map(str, photos or [0])).encode())
