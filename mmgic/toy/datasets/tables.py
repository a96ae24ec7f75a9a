"""The toy world's training scenes as the datasets' own tables: Visual Genome, Objects365 and VQAv2.

A few records carry the faults of the real downloads, so that cleaning has something to do: labels that occur once,
boxes outside their image, objects without or with two synsets, names in capitals, relationships to missing objects.
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from mmgic.toy.datasets.samples import World, write_bytes, write_json
from mmgic.toy.world import text
from mmgic.toy.world.scenes import Scene, make_scene
from mmgic.toy.world.words import CATEGORIES

Record = dict[str, Any]

_VG_URL = "https://cs.stanford.edu/people/rak248"
_PREDICATE_SYNSETS = {"holds": ["hold.v.02"], "wears": ["wear.v.01"], "on": ["along.r.01"], "inside": ["inside.r.02"]}


def write_first_sources(root: Path, world: World, numbers: range) -> None:
    """Writes visual_genome/ (even scenes), objects365/ (odd scenes) and vqav2/ (all of them)."""
    visual_genome, objects365 = VisualGenome(), Objects365()
    vqav2 = VQAv2(text.categories_shown(make_scene(world.seed, "train", number) for number in numbers))
    for sample in world.samples(numbers):
        scene, image_id, jpeg = sample.scene, sample.image_id, sample.jpeg()
        rng = world.generator("tables", sample.number)
        if sample.number % 2 == 0:
            write_bytes(root / "visual_genome" / visual_genome.add(scene, image_id, sample.captions, rng), jpeg)
        else:
            write_bytes(root / "objects365" / objects365.add(scene, image_id, sample.captions, rng), jpeg)
        write_bytes(root / "vqav2" / vqav2.add(scene, image_id, rng), jpeg)
    for name, records in visual_genome.tables.items():
        write_json(root / "visual_genome" / f"{name}.json", records)
    write_json(root / "visual_genome/captions.json", caption_file(visual_genome.captions))
    write_json(root / "objects365/annotations/zhiyuan_objv2_train.json", objects365.detections)
    write_json(root / "objects365/captions.json", caption_file(objects365.captions))
    write_json(root / "vqav2/v2_OpenEnded_mscoco_train2014_questions.json", vqav2.questions)
    write_json(root / "vqav2/v2_mscoco_train2014_annotations.json", vqav2.annotations)


class VisualGenome:
    """image_data and attributes of v1.2, objects and relationships of v1.4, captions by Visual Genome's image ids."""

    def __init__(self) -> None:
        self.tables: dict[str, list[Record]] = {
            name: [] for name in ("image_data", "objects", "attributes", "relationships")
        }
        self.captions: list[Record] = []

    def add(self, scene: Scene, image_id: int, captions: list[str], rng: np.random.Generator) -> str:
        """Adds one image; returns its path inside the dataset's folder."""
        path = f"{'VG_100K' if image_id % 4 < 2 else 'VG_100K_2'}/{image_id}.jpg"
        url = f"{_VG_URL}/{path}"
        self.tables["image_data"].append(
            {
                "width": scene.width,
                "url": url,
                "height": scene.height,
                "image_id": image_id,
                "coco_id": None,
                "flickr_id": None,
            }
        )
        objects = [_vg_object(scene, i, image_id, rng) for i in range(len(scene.things))]
        older = []  # the same objects as v1.2 has them: other boxes, attributes, duplicates not yet merged
        for thing, record in zip(scene.things, objects, strict=True):
            attributes = list(thing.attributes)
            if rng.random() < 0.05:
                twin = record["object_id"] + 50
                record["merged_object_ids"].append(twin)
                older.append({**_older(record), "object_id": twin, "attributes": attributes[1:] or attributes})
            older.append({**_older(record), "attributes": [_scribbled(label, rng) for label in attributes]})
        relationships = [
            _vg_relationship(objects, older, relation.subject, relation.label, relation.object, image_id * 100 + i, rng)
            for i, relation in enumerate(scene.relations)
        ]
        faulty = _faulty_objects(scene, image_id, rng)
        older += [_older(record) for record in faulty]
        if rng.random() < 0.02 and relationships:
            # some endpoints of the real table are neither kept nor merged
            gone = {**relationships[0]["object"], "object_id": image_id * 100 + 99}
            relationships.append({**relationships[0], "relationship_id": image_id * 100 + 98, "object": gone})
        self.tables["objects"].append({"image_id": image_id, "objects": objects + faulty, "image_url": url})
        self.tables["attributes"].append({"image_id": image_id, "attributes": older})
        self.tables["relationships"].append({"relationships": relationships, "image_id": image_id})
        self.captions += coco_caption_records(image_id, captions)
        return path


def _vg_object(scene: Scene, i: int, image_id: int, rng: np.random.Generator) -> Record:
    category = CATEGORIES[scene.things[i].category]
    x, y, w, h = scene.things[i].box
    left, top = max(0, math.floor(x)), max(0, math.floor(y))
    return {
        "synsets": [] if rng.random() < 0.03 else [category.synset],
        "h": min(scene.height, math.ceil(y + h)) - top,
        "object_id": image_id * 100 + i,
        "merged_object_ids": [],
        "names": [_scribbled(category.name, rng)],
        "w": min(scene.width, math.ceil(x + w)) - left,
        "y": top,
        "x": left,
    }


def _older(record: Record) -> Record:
    """A v1.4 object as v1.2 has it: no merged ids, and a box that is a little off."""
    record = {key: value for key, value in record.items() if key != "merged_object_ids"}
    return {**record, "x": record["x"] + 1, "w": max(1, record["w"] - 2)}


def _vg_relationship(
    objects: list[Record],
    older: list[Record],
    subject: int,
    label: str,
    other: int,
    relationship_id: int,
    rng: np.random.Generator,
) -> Record:
    """v1.4 mixes two shapes: an endpoint that was merged is a v1.4 object, any other a v1.2 object with one `name`."""

    def endpoint(i: int) -> Record:
        record = objects[i]
        if record["merged_object_ids"]:
            return record
        old = next(o for o in older if o["object_id"] == record["object_id"])
        return {
            "name": old["names"][0],
            **{key: value for key, value in old.items() if key not in ("names", "attributes")},
        }

    return {
        "predicate": _scribbled(label, rng),
        "object": endpoint(other),
        "relationship_id": relationship_id,
        "synsets": _PREDICATE_SYNSETS.get(label, []),
        "subject": endpoint(subject),
    }


def _faulty_objects(scene: Scene, image_id: int, rng: np.random.Generator) -> list[Record]:
    base = {"object_id": image_id * 100 + 20, "merged_object_ids": [], "x": 5, "y": 5, "w": 30, "h": 30}
    draw = rng.random()
    if draw < 0.03:
        return [{**base, "synsets": [], "names": [f"doodad {image_id}"]}]
    if draw < 0.05:
        return [{**base, "synsets": ["dog.n.01"], "names": ["dog"], "x": scene.width - 10}]
    if draw < 0.07:
        return [{**base, "synsets": ["cup.n.01", "cup.n.02"], "names": ["cup"]}]
    return []


def _scribbled(label: str, rng: np.random.Generator) -> str:
    """`label` as a hurried annotator types it now and then."""
    draw = rng.random()
    return label.upper() if draw < 0.02 else f" {label} " if draw < 0.04 else label


class Objects365:
    """zhiyuan_objv2_train.json with images in patch folders, and captions keyed by its image ids."""

    def __init__(self) -> None:
        self.images: list[Record] = []
        self.annotations: list[Record] = []
        self.captions: list[Record] = []
        self._category_ids = {name: i + 1 for i, name in enumerate(CATEGORIES)}

    @property
    def detections(self) -> Record:
        # as in the real file, a name may end with a blank
        names = {name: f"{name} " if name == "bicycle" else name for name in CATEGORIES}
        categories = [{"name": names[name], "id": i} for name, i in self._category_ids.items()]
        return {
            "images": self.images,
            "annotations": self.annotations,
            "categories": categories,
            "licenses": [{"name": "", "id": 1, "url": ""}],
        }

    def add(self, scene: Scene, image_id: int, captions: list[str], rng: np.random.Generator) -> str:
        """Adds one image; returns its path inside the dataset's folder."""
        path = f"images/v1/patch{image_id // 500}/objects365_v1_{image_id:08d}.jpg"
        self.images.append(
            {
                "height": scene.height,
                "id": image_id,
                "license": 1,
                "width": scene.width,
                "file_name": path,
                "url": "",
            }
        )
        boxes = [(self._category_ids[thing.category], [round(edge, 2) for edge in thing.box]) for thing in scene.things]
        if rng.random() < 0.03:
            boxes.append((self._category_ids["dog"], [scene.width - 12.5, 10.0, 40.25, 30.0]))
        if rng.random() < 0.02:
            boxes.append(boxes[0])
        for category_id, box in boxes:
            self.annotations.append(
                {
                    "id": len(self.annotations) + 1,
                    "iscrowd": 0,
                    "isfake": 0,
                    "isreflected": 0,
                    "bbox": box,
                    "image_id": image_id,
                    "category_id": category_id,
                    "area": round(box[2] * box[3], 2),
                }
            )
        self.captions += coco_caption_records(image_id, captions)
        return path


class VQAv2:
    """Questions and ten answers each, on images named by VQAv2's rule; a question does not give its answer away."""

    def __init__(self, shown: Counter[tuple[str, str]]) -> None:
        """`shown` counts the categories of its scenes."""
        self._shown = shown
        self._questions: list[Record] = []
        self._annotations: list[Record] = []

    @property
    def questions(self) -> Record:
        return {**self._header("Open-Ended"), "questions": self._questions}

    @property
    def annotations(self) -> Record:
        return {**self._header(None), "annotations": self._annotations}

    def _header(self, task: str | None) -> Record:
        header = {"info": {"description": "toy world in the form of VQAv2"}, "license": {}}
        return {**header, **({"task_type": task} if task else {}), "data_type": "mscoco", "data_subtype": "train2014"}

    def add(self, scene: Scene, image_id: int, rng: np.random.Generator) -> str:
        """Adds one image with up to six existence questions and one about a colour; returns the image's path."""
        asked = text.existence_questions(scene, rng, pairs=3, shown=self._shown)
        asked.append(text.colour_question(scene.things[int(rng.integers(len(scene.things)))]))
        for i, (question, answer) in enumerate(asked):
            question_id = image_id * 1000 + i
            self._questions.append({"image_id": image_id, "question": question, "question_id": question_id})
            answers = [answer] * 10
            if rng.random() < 0.2:
                answers[int(rng.integers(10))] = "not sure"
            yes_no = answer in ("yes", "no")
            self._annotations.append(
                {
                    "question_type": "is there a" if yes_no else "what color is the",
                    "multiple_choice_answer": Counter(answers).most_common(1)[0][0],
                    "answers": [
                        {"answer": a, "answer_confidence": "yes", "answer_id": k + 1} for k, a in enumerate(answers)
                    ],
                    "image_id": image_id,
                    "answer_type": "yes/no" if yes_no else "other",
                    "question_id": question_id,
                }
            )
        return f"train2014/COCO_train2014_{image_id:012d}.jpg"


def coco_caption_records(image_id: int, captions: list[str]) -> list[Record]:
    """Rows of a COCO captions file; the id is unique because an image has fewer than ten captions."""
    return [{"image_id": image_id, "id": image_id * 10 + i, "caption": caption} for i, caption in enumerate(captions)]


def caption_file(records: list[Record]) -> Record:
    """A COCO captions file of `coco_caption_records`."""
    images = [{"id": image_id} for image_id in dict.fromkeys(record["image_id"] for record in records)]
    return {"images": images, "annotations": records}
