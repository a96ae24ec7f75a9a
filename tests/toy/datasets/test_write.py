from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from mmgic.errors import InputError
from mmgic.evaluation.registry import downloaded, find
from mmgic.toy.datasets.benchmarks import examples
from mmgic.toy.datasets.samples import World
from mmgic.toy.datasets.write import make_world
from mmgic.toy.world import words
from mmgic.toy.world.scenes import make_scene

from ..conftest import SCENES, SEED


def _files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def _json(path):
    return json.loads(path.read_text())


def test_same_seed_same_bytes_and_other_seed_other_pictures(tmp_path, world):
    make_world(tmp_path / "again", SCENES, SEED)
    make_world(tmp_path / "other", SCENES, SEED + 1)
    first, again, other = _files(world), _files(tmp_path / "again"), _files(tmp_path / "other")
    assert first == again
    pictures = [name for name in first if name.endswith(".jpg")]
    assert set(first) == set(other)
    assert all(first[name] != other[name] for name in pictures)


def test_a_scene_does_not_depend_on_how_many_there_are(tmp_path, world):
    make_world(tmp_path / "small", 4, SEED)
    small, large = _files(tmp_path / "small"), _files(world)
    assert all(large[name] == small[name] for name in small if name.endswith(".jpg"))


def test_the_same_world_is_left_alone_and_anything_else_is_refused(tmp_path, world):
    before = {p: p.stat().st_mtime_ns for p in world.rglob("*")}
    make_world(world, SCENES, SEED)
    assert before == {p: p.stat().st_mtime_ns for p in world.rglob("*")}
    with pytest.raises(InputError, match="holds something else"):
        make_world(world, SCENES, SEED + 1)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="choose another folder"):
        make_world(tmp_path, 4, 0)
    with pytest.raises(InputError, match="between 1 and"):
        make_world(tmp_path / "none", 0, 0)


def test_a_world_that_was_broken_off_is_written_again(tmp_path):
    (tmp_path / "world.partial").mkdir()
    (tmp_path / "world.partial" / "left").write_text("over")
    calls = []
    make_world(tmp_path / "world", 3, 0, progress=lambda done, total: calls.append((done, total)))
    total = calls[-1][1]
    assert total > 3
    assert calls == [(i, total) for i in range(1, total + 1)]
    assert not (tmp_path / "world" / "left").exists()
    assert not (tmp_path / "world.partial").exists()


def test_visual_genome_tables(world):
    folder = world / "visual_genome"
    images = {r["image_id"]: r for r in _json(folder / "image_data.json")}
    assert set(images) == set(range(1, SCENES + 1, 2))
    for record in images.values():
        path = folder / "/".join(record["url"].split("/")[-2:])
        assert Image.open(path).size == (record["width"], record["height"])
    objects = {r["image_id"]: r["objects"] for r in _json(folder / "objects.json")}
    older = {r["image_id"]: r["attributes"] for r in _json(folder / "attributes.json")}
    related = {r["image_id"]: r["relationships"] for r in _json(folder / "relationships.json")}
    assert set(objects) == set(older) == set(related) == set(images)
    for image_id, records in objects.items():
        scene = make_scene(SEED, "train", image_id - 1)
        names = [r["names"][0].strip().lower() for r in records]
        assert tuple(names[: len(scene.things)]) == scene.categories
        ids = {r["object_id"] for r in records} | {m for r in records for m in r["merged_object_ids"]}
        assert {r["object_id"] for r in older[image_id]} == ids
        told = [(_name(r["subject"]), r["predicate"].strip().lower(), _name(r["object"])) for r in related[image_id]]
        drawn = [(scene.categories[r.subject], r.label, scene.categories[r.object]) for r in scene.relations]
        assert told[: len(drawn)] == drawn
    endpoints = [r[end] for rows in related.values() for r in rows for end in ("subject", "object")]
    # the two shapes of v1.4
    assert all(("names" in e) == ("merged_object_ids" in e) != ("name" in e) for e in endpoints)
    assert 0 < sum("names" in e for e in endpoints) < len(endpoints)


def _name(endpoint):
    return (endpoint["name"] if "name" in endpoint else endpoint["names"][0]).strip().lower()


def test_objects365_file(world):
    detections = _json(world / "objects365/annotations/zhiyuan_objv2_train.json")
    names = {c["id"]: c["name"].strip() for c in detections["categories"]}
    assert set(names.values()) == set(words.CATEGORIES)
    labels: dict[int, list[str]] = {}
    for annotation in detections["annotations"]:
        labels.setdefault(annotation["image_id"], []).append(names[annotation["category_id"]])
    for image in detections["images"]:
        assert Image.open(world / "objects365" / image["file_name"]).size == (image["width"], image["height"])
        scene = make_scene(SEED, "train", image["id"] - 1)
        assert tuple(labels[image["id"]][: len(scene.things)]) == scene.categories


@pytest.mark.parametrize("source", ["visual_genome", "objects365"])
def test_captions_of_training_images(world, source):
    captions = _json(world / source / "captions.json")
    counts = Counter(r["image_id"] for r in captions["annotations"])
    assert {i["id"] for i in captions["images"]} == set(counts)
    assert set(counts.values()) <= {2, 3}
    assert len({r["id"] for r in captions["annotations"]}) == len(captions["annotations"])


def test_vqav2_files(world):
    questions = _json(world / "vqav2/v2_OpenEnded_mscoco_train2014_questions.json")["questions"]
    answers = {a["question_id"]: a for a in _json(world / "vqav2/v2_mscoco_train2014_annotations.json")["annotations"]}
    assert {q["question_id"] for q in questions} == set(answers)
    counts = Counter(a["multiple_choice_answer"] for a in answers.values())
    assert counts["yes"] == counts["no"] > 100
    for question in questions:
        scene = make_scene(SEED, "train", question["image_id"] - 1)
        answer = answers[question["question_id"]]
        assert len(answer["answers"]) == 10
        assert (world / f"vqav2/train2014/COCO_train2014_{question['image_id']:012d}.jpg").is_file()
        named = next(n for n in question["question"].rstrip("?").split() if n in words.CATEGORIES)
        if answer["answer_type"] == "yes/no":
            assert (answer["multiple_choice_answer"] == "yes") == (named in scene.categories)
        else:
            assert answer["multiple_choice_answer"] == scene.things[scene.categories.index(named)].colour


def test_evaluation_captions(world):
    images = _json(world / "karpathy/dataset_coco.json")["images"]
    assert len(images) == 64
    assert {len(image["sentences"]) for image in images} == {3, 4, 5}
    assert len({sentence["sentid"] for image in images for sentence in image["sentences"]}) == sum(
        len(image["sentences"]) for image in images
    )
    for image in images:
        scene = make_scene(SEED, "eval", image["cocoid"] - 100_001)
        assert Image.open(world / "coco/val2014" / image["filename"]).size == (scene.width, scene.height)


def test_every_benchmark_writes_the_files_that_it_reads(world):
    for settings in downloaded(str(world)):
        for items in find(settings.name).read(settings.files).values():
            assert len(items) > 24
            for image in (image for item in items for image in item.images if isinstance(image, str)):
                assert (Path(settings.images) / image).is_file()


def test_questions_about_examples_are_true():
    for picture in examples(World(SEED), 20).pictures:
        scene = make_scene(SEED, "eval", picture.id - 100_001)
        colours = {thing.category: thing.colour for thing in scene.things}
        for question in picture.questions:
            named = next(word for word in question.text.rstrip("?").split() if word in words.CATEGORIES)
            assert question.answer not in question.wrong
            if question.kind == "color":
                assert question.answer == colours[named]
            else:
                assert (question.answer == "yes") == (named in scene.categories)


def test_pope_is_balanced_and_true(world):
    negatives = {}
    for kind in ("random", "popular", "adversarial"):
        rows = [json.loads(line) for line in (world / f"pope/coco_pope_{kind}.json").read_text().splitlines()]
        assert [r["question_id"] for r in rows] == list(range(1, len(rows) + 1))
        per_image = Counter((r["image"], r["label"]) for r in rows)
        assert set(per_image.values()) == {3}
        assert len(per_image) > 2 * 30
        for row in rows:
            assert (world / "coco/val2014" / row["image"]).is_file()
            scene = make_scene(SEED, "eval", int(row["image"].removesuffix(".jpg").rpartition("_")[2]) - 100_001)
            named = row["text"].removesuffix(" in the image?").split()[-1]
            assert (named in scene.categories) == (row["label"] == "yes")
        negatives[kind] = Counter(r["text"] for r in rows if r["label"] == "no")
    # the popular negatives are few and frequent, the random ones spread over the categories
    assert len(negatives["popular"]) < len(negatives["adversarial"]) <= len(negatives["random"])


def test_descriptions(world):
    rows = [json.loads(line) for line in (world / "descriptions.jsonl").read_text().splitlines()]
    assert Counter(r["kind"] for r in rows) == {"object": 27, "attribute": 22, "relationship": 6}
    assert all(6 <= len(r["description"].split()) <= 16 for r in rows)
