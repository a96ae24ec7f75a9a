"""The toy world's detection sources, read by the loaders of the real ones."""

from __future__ import annotations

from collections import Counter

import pytest

from mmgic.cleaning.clean import clean_image
from mmgic.cleaning.counting import count_objects, count_predicates
from mmgic.cleaning.labels import kept_labels
from mmgic.images import ImageError, read_image
from mmgic.settings import CleaningSettings, SourceSettings
from mmgic.sources.detection.v3det import v3det_descriptions
from mmgic.sources.formats import read_source
from mmgic.toy.datasets.write import WRITERS
from mmgic.toy.world.scenes import make_scene

from ..conftest import SCENES, SEED

RULES = CleaningSettings(min_short_side=64)
SOURCES = {
    "open_images": {"format": "open_images", "annotations": "bigdet_oid_train.json + bigdet_val.json"},
    "native": {"format": "open_images", "path": "open_images"},
    "objects365_v1": {"annotations": "objects365_train.json", "images": "train", "captions": "captions.json"},
    "v3det": {"format": "v3det", "annotations": "annotations/v3det_2023_v1_*[nl].json", "min_label_count": 3},
    "visual_genome_ambiguous": {
        "format": "visual_genome",
        "captions": "captions.json",
        "karpathy": "dataset_coco.json",
        "flickr30k": "flickr30k",
        "min_label_count": 2,
    },
}


@pytest.fixture(scope="module")
def read(world):
    """Source name -> (settings, rows as read, rows as cleaned)."""
    results = {}

    def make(name):
        if name not in results:
            fields = {"path": name, **SOURCES[name]}
            folder = world / fields["path"]
            fields |= {key: str(folder / fields[key]) for key in ("karpathy", "flickr30k") if key in fields}
            source = SourceSettings(name=name, **{**fields, "path": str(folder)})
            rows = list(read_source(source))
            counts = count_objects(rows, source, RULES)
            labels = kept_labels(counts, source, RULES)
            counts += count_predicates(rows, labels, source, RULES)
            labels = kept_labels(counts, source, RULES)
            results[name] = source, rows, [clean_image(row, labels, RULES) for row in rows]
        return results[name]

    return make


def reasons(rows):
    return Counter(row["reason"] for row in rows if not row["keep"])


def drops(rows):
    return sum((Counter({d["reason"]: d["count"]}) for row in rows for d in row["drops"]), Counter())


@pytest.mark.parametrize("name", SOURCES)
def test_most_images_are_usable_and_every_fault_is_counted(read, name):
    _, rows, cleaned = read(name)
    [images] = [w.images(SCENES) for w in WRITERS if w.name == SOURCES[name].get("path", name)]
    assert images <= len(rows) <= images + (3 if name == "open_images" else 1)  # a bad line, two of other datasets
    assert len({row["row_id"] for row in rows}) == len(rows)
    kept = [row for row in cleaned if row["keep"]]
    assert len(kept) > 0.6 * len(rows)
    assert all(row["objects"] for row in kept)
    expected = {
        "open_images": {"no_objects", "bad_record", "other_dataset"},
        "native": {"image_missing", "bad_record"},
        "objects365_v1": {"bad_record"},
        "v3det": set(),
        "visual_genome_ambiguous": {"heldout_split", "validation_split", "bad_record"},
    }
    assert set(reasons(cleaned)) == expected[name]


def test_what_is_said_is_true_of_the_scene(read):
    """Boxes, attributes and relationships of Open Images, through BigDetection's boxes, against the drawn scene."""
    first = next(w.first for w in WRITERS if w.name == "open_images")
    scenes = {}
    for number in range(first, first + 48):
        scene = make_scene(SEED, "train", number)
        scenes[scene.width, scene.height, tuple(sorted(scene.categories))] = scene
    _, _, cleaned = read("open_images")
    native = {row["image_id"]: row for row in read("native")[2]}
    said = 0
    for row in cleaned:
        if not row["keep"] or not native.get(row["image_id"], {}).get("keep"):
            continue
        classes = {o["label"].lower() for o in native[row["image_id"]]["objects"]} - {"person"}
        scene = scenes[row["width"], row["height"], tuple(sorted(classes))]
        names = {o["object_id"]: o["label"] for o in row["objects"]}
        things = {thing.category: thing for thing in scene.things}
        for thing in row["objects"]:
            x, y, w, h = things[thing["label"]].box
            assert max(abs(thing["x"] - x), abs(thing["y"] - y)) <= 1
            assert max(abs(thing["w"] - w), abs(thing["h"] - h)) <= 2
        for attribute in row["attributes"]:
            said += 1
            assert attribute["label"].replace("made of ", "") in things[names[attribute["object_id"]]].attributes
        drawn = {(scene.categories[r.subject], r.label, scene.categories[r.object]) for r in scene.relations}
        told = {(names[r["subject_id"]], r["label"], names[r["object_id"]]) for r in row["relationships"]}
        assert told <= drawn
        said += len(told)
    assert said > 200


def test_pairing_reports_its_overlaps(read, capsys):
    list(read_source(read("open_images")[0]))
    printed = capsys.readouterr().out
    assert "IoU of" in printed
    assert "pairs need 0.9" in printed
    list(read_source(read("native")[0]))
    assert "no file of BigDetection" in capsys.readouterr().out
    counted = drops(read("open_images")[1])
    assert counted["attribute_unpaired"] > 10
    assert counted["relationship_unpaired"] > 10


def test_open_images_has_narratives_and_made_of_metal(read):
    _, rows, _ = read("native")
    told = [row["narrative"] for row in rows if row["narrative"]]
    assert len(told) > 10
    assert all(text.startswith("In this image we can see") for text in told)
    assert "made of metal" in {a["label"] for row in rows for a in row["attributes"]}
    assert {"object_duplicate", "relationship_object_removed"} <= set(drops(rows))


def test_v3det_has_two_kites_that_describe_themselves(read):
    source, rows, cleaned = read("v3det")
    kites = {o["label"] for row in rows for o in row["objects"] if o["label"].startswith("kite")}
    assert len(kites) == 2
    described = {row["label"]: row["description"] for row in v3det_descriptions(source)}
    assert {o["label"] for row in rows for o in row["objects"]} <= set(described)
    assert {described[kite].split()[1] for kite in kites} == {"diamond-shaped", "bird"}
    assert drops(cleaned)["object_label_rare"] > 0
    assert not {"doodad"} & {o["label"] for row in cleaned for o in row["objects"]}


def test_broken_pictures_are_found_when_they_are_read(read):
    _, rows, _ = read("objects365_v1")
    found = Counter()
    for row in rows:
        if row["keep"]:
            try:
                image = read_image(row["image_path"])
                found["same" if image.size == (row["width"], row["height"]) else "size_mismatch"] += 1
            except ImageError as error:
                found[error.reason] += 1
    assert {"image_missing", "image_undecodable", "size_mismatch"} < set(found)
    assert found["same"] > 30


def test_a_word_of_two_synsets_gets_two_names(read):
    _, rows, cleaned = read("visual_genome_ambiguous")
    assert len({o["synset"] for row in rows for o in row["objects"] if o["label"] == "bus"} - {""}) == 2
    names = {o["label"] for row in cleaned for o in row["objects"] if o["label"].startswith("bus")}
    assert names == {"bus", "bus (sense 4)"}
    assert set(reasons(cleaned)) == {"heldout_split", "validation_split", "bad_record"}
