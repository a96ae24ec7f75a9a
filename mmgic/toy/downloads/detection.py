"""data/open_images, objects365, v3det and visual_genome as their archives unpack, with what lies beside what is read.

open_images/    CSV files of V5 and V6, narratives, train/ validation/, and BigDetection's two files
objects365/     v2: annotations/zhiyuan_objv2_{train,val}.json train/patchN/ val/images/v1/patchN/
v3det/          annotations/v3det_2023_v1_*.json images/NODE/
visual_genome/  image_data.json, objects.json and so on, VG_100K/ VG_100K_2/; no captions
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmgic.toy.datasets.benchmarks import MAX_SCENES
from mmgic.toy.datasets.detection import write_v3det
from mmgic.toy.datasets.open_images import write_open_images
from mmgic.toy.datasets.samples import World, write_bytes, write_json
from mmgic.toy.datasets.tables import Objects365, Record, VisualGenome

_IMAGE_INFO = (
    "ImageID,Subset,OriginalURL,OriginalLandingURL,License,AuthorProfileURL,Author,Title,OriginalSize,OriginalMD5,"
    "Thumbnail300KURL,Rotation"
)


def write_detection(data: Path, world: World, numbers: range) -> list[Record]:
    """The four sources, each from a quarter of the scenes. Returns Karpathy's records of Visual Genome's images."""
    quarter = len(numbers) // 4
    parts = [numbers[i * quarter : (i + 1) * quarter] for i in range(4)]
    write_open_images(data, world, parts[0], sizes=False)
    _write_beside_open_images(data / "open_images")
    _write_objects365(data / "objects365", world, parts[1])
    write_v3det(data, world, parts[2])
    _write_beside_v3det(data / "v3det/annotations")
    return _write_visual_genome(data, world, parts[3])


def _write_beside_open_images(folder: Path) -> None:
    """Files of the download that are not read: the test split, image-level labels, image rows, the hierarchy."""
    boxes = (folder / "validation-annotations-bbox.csv").read_text(encoding="utf-8").splitlines()
    relations = (folder / "oidv6-validation-annotations-vrd.csv").read_text(encoding="utf-8").splitlines()
    _write_lines(folder / "test-annotations-bbox.csv", [boxes[0], f"ffffffffffffffff,{boxes[1].partition(',')[2]}"])
    _write_lines(folder / "oidv6-test-annotations-vrd.csv", relations[:1])
    image_id = boxes[1].partition(",")[0]
    for split in ("train", "validation", "test"):
        labels = [f"{image_id},verification,/m/0toy00,1"] if split == "validation" else []
        _write_lines(
            folder / f"{split}-annotations-human-imagelabels-boxable.csv",
            ["ImageID,Source,LabelName,Confidence", *labels],
        )
        infix = "-boxable" if split == "train" else ""
        title = f'{image_id},{split},,,,,,"A title, with a comma",0,,,0.0'
        _write_lines(folder / f"{split}-images{infix}-with-rotation.csv", [_IMAGE_INFO, title])
    _write_lines(folder / "oidv6-relationship-triplets.csv", ["LabelName1,LabelName2,RelationshipLabel"])
    write_json(folder / "bbox_labels_600_hierarchy.json", {"LabelName": "/m/0bl9f", "Subcategory": []})


def _write_objects365(folder: Path, world: World, numbers: range) -> None:
    """Patches are archives of their own: train's unpack to train/patchN, val's to val/images/v1/patchN."""
    splits = {"train": Objects365(), "val": Objects365()}
    for place, sample in enumerate(world.samples(numbers)):
        split = "val" if place % 6 == 5 else "train"
        rng = world.generator("objects365", sample.number)
        name = splits[split].add(sample.scene, sample.image_id, sample.captions, rng)
        inside = name.removeprefix("images/v1/") if split == "train" else name
        write_bytes(folder / split / inside, sample.jpeg())
    for split, tables in splits.items():
        write_json(folder / f"annotations/zhiyuan_objv2_{split}.json", tables.detections)


def _write_beside_v3det(annotations: Path) -> None:
    train = json.loads((annotations / "v3det_2023_v1_train.json").read_text(encoding="utf-8"))
    base = [record for record in train["categories"] if record["id"] % 2]
    write_json(annotations / "v3det_2023_v1_train_ovd_base.json", {**train, "categories": base})
    write_json(annotations / "v3det_2023_v1_test_image_info.json", {"images": [], "categories": train["categories"]})
    names = {str(record["id"]): record["name"] for record in train["categories"]}
    tree = {"categoryid2treeid": {i: f"n{int(i):08d}" for i in names}, "id2name": names, "father2child": {}}
    write_json(annotations / "v3det_2023_v1_category_tree.json", tree)
    _write_lines(annotations / "category_name_13204_v3det_2023_v1.txt", list(names.values()))


def _write_visual_genome(data: Path, world: World, numbers: range) -> list[Record]:
    """Half of the images are COCO's or Flickr's; some of these belong to a benchmark."""
    folder = data / "visual_genome"
    tables = VisualGenome()
    karpathy, flickr = [], []
    for place, sample in enumerate(world.samples(numbers)):
        rng = world.generator("visual_genome", sample.number)
        path = tables.add(sample.scene, sample.image_id, sample.captions, rng)
        write_bytes(folder / path, sample.jpeg())
        image = tables.tables["image_data"][-1]
        if place % 4 == 1:
            split = ("train", "restval", "train", "test")[place // 4 % 4]
            # an image of the test split is one that the scores are taken on
            coco_id = MAX_SCENES + 1 if split == "test" else sample.image_id
            image["coco_id"] = image["flickr_id"] = coco_id
            if split != "test":
                karpathy.append(_karpathy_record(coco_id, split, sample.captions))
        elif place % 8 == 3:
            image["flickr_id"] = sample.image_id
            flickr.append(sample.image_id)
    for name, records in tables.tables.items():
        write_json(folder / f"{name}.json", records)
    ids = [record["image_id"] for record in tables.tables["image_data"]]
    write_json(folder / "region_descriptions.json", [{"id": image_id, "regions": []} for image_id in ids])
    write_json(folder / "question_answers.json", [{"id": image_id, "qas": []} for image_id in ids])
    # as the repository has them, without a line break at the end
    for split, photos in {"train": flickr[1:], "val": flickr[:1], "test": []}.items():
        write_bytes(data / f"flickr30k_entities/{split}.txt", "\n".join(map(str, photos)).encode())
    return karpathy


def _karpathy_record(coco_id: int, split: str, captions: list[str]) -> Record:
    """An image of dataset_coco.json; those of restval lie in COCO's val2014."""
    part = "train2014" if split == "train" else "val2014"
    sentences = [
        {"tokens": text.lower().rstrip(".").split(), "raw": text, "imgid": coco_id, "sentid": 10 * coco_id + i}
        for i, text in enumerate(captions)
    ]
    return {
        "filepath": part,
        "sentids": [sentence["sentid"] for sentence in sentences],
        "filename": f"COCO_{part}_{coco_id:012d}.jpg",
        "imgid": coco_id,
        "split": split,
        "sentences": sentences,
        "cocoid": coco_id,
    }


def _write_lines(path: Path, lines: list[Any]) -> None:
    write_bytes(path, "".join(f"{line}\n" for line in lines).encode())
