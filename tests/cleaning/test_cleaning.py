import shutil
from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgic.cleaning.clean import clean_image, remove_invalid_labels
from mmgic.cleaning.counting import CountsBySource, count_objects, count_predicates
from mmgic.cleaning.labels import KeptLabels, LabelCounts, kept_labels, sense_name
from mmgic.cleaning.senses import check_names
from mmgic.regions import make_regions
from mmgic.schema import ANNOTATED_IMAGE, IMAGE_WITH_REGIONS, reject
from mmgic.settings import CleaningSettings, LabelSettings, RegionSettings, SettingsError, SourceSettings
from mmgic.sources.formats import read_source
from mmgic.sources.rows import annotated_image

VG = SourceSettings(name="vg", format="visual_genome", min_label_count=2)
V3DET = SourceSettings(name="v3det", format="coco", min_label_count=3)
RULES = CleaningSettings()


def thing(object_id, label, synset="", x=10.0, y=10.0, w=20.0, h=20.0):
    return {"object_id": str(object_id), "label": label, "synset": synset, "x": x, "y": y, "w": w, "h": h}


def image(image_id, *objects, attributes=(), relationships=(), width=400, height=300, **columns):
    return annotated_image(
        "vg",
        str(image_id),
        0,
        width=width,
        height=height,
        objects=list(objects),
        attributes=[{"object_id": str(o), "label": label} for o, label in attributes],
        relationships=[{"subject_id": str(s), "label": label, "object_id": str(o)} for s, label, o in relationships],
        **columns,
    )


def clean(rows, source=VG, cleaning=RULES, batches=1, names=None):
    parts = [rows[i::batches] for i in range(batches)]
    counts = LabelCounts()
    for part in parts:
        counts += count_objects(part, source, cleaning)
    labels = kept_labels(counts, source, cleaning, names)
    for part in parts:
        counts += count_predicates(part, labels, source, cleaning)
    labels = kept_labels(counts, source, cleaning, names)
    return [clean_image(row, labels, cleaning) for row in rows]


def drops(row):
    return {drop["reason"]: drop["count"] for drop in row["drops"]}


def names(rows):
    return [[(o["label"], o["synset"]) for o in row["objects"]] for row in rows]


@pytest.mark.parametrize(
    ("width", "height", "reason"),
    [
        (224, 224, ""),
        (223, 400, "short_side"),
        (400, 223, "short_side"),
        (900, 300, ""),
        (901, 300, "aspect_ratio"),
        (231, 700, ""),  # 0.33
        (230, 700, "aspect_ratio"),
    ],
)
def test_images_by_short_side_and_aspect(width, height, reason):
    [row] = clean([image(1, thing(1, "cat"), width=width, height=height)], SourceSettings(format="coco"))
    assert row["reason"] == reason
    assert row["keep"] == (not reason)


@pytest.mark.parametrize(
    ("box", "result"),
    [
        ((0, 0, 400, 300), (0, 0, 400, 300)),
        ((-1, -0.5, 20, 20), (0, 0, 19, 19.5)),
        ((390, 290, 11, 10.75), (390, 290, 10, 10)),
        ((-1.01, 0, 20, 20), "object_outside_image"),
        ((390, 0, 11.01, 20), "object_outside_image"),
        ((0, 290, 20, 11.01), "object_outside_image"),
        ((-1, 0, 1, 20), "object_outside_image"),  # within the tolerance, but none of it in the image
        ((400, 0, 1, 20), "object_outside_image"),
        ((10, 10, 0, 20), "object_bad_box"),
        ((10, 10, 20, -5), "object_bad_box"),
        ((10, 10, float("nan"), 20), "object_bad_box"),
        ((float("-inf"), 10, 20, 20), "object_bad_box"),
        ((10, 10, 1e-20, 20), "object_bad_box"),
    ],
)
def test_boxes(box, result):
    [row] = clean([image(1, thing(1, "cat", "", *box), thing(2, "cat"))], SourceSettings(format="coco"))
    if isinstance(result, str):
        assert drops(row) == {result: 1}
    else:
        assert tuple(row["objects"][0][side] for side in "xywh") == pytest.approx(result)


def test_detection_labels_are_counted_before_anything_is_removed():
    # F.2 for V3Det: the boxes outside the image still count towards the three that a label needs
    outside = {"x": 1000.0}
    rows = [
        image(1, thing(1, "cat"), thing(2, "cat", **outside), thing(3, "dog")),
        image(2, thing(4, "cat"), thing(5, "dog"), width=100),
    ]
    [first, second] = clean(rows, V3DET)
    assert names([first]) == [[("cat", "")]]
    assert drops(first) == {"object_outside_image": 1, "object_label_rare": 1}
    assert second["reason"] == "short_side"


def test_an_image_left_without_objects_is_set_aside():
    [row] = clean([image(1, thing(1, "cat"))], V3DET)
    assert (row["keep"], row["reason"], row["objects"]) == (False, "no_objects", [])
    assert drops(row) == {"object_label_rare": 1}


def test_visual_genome_counts_what_its_earlier_steps_left():
    # step 1 removes image 3, step 2 the cat of two synsets and the one outside: one cat is left, and one is too few
    rows = [
        image(1, thing(1, "cat", "cat.n.01"), thing(2, "dog", "dog.n.01"), thing(3, "dog", "dog.n.01")),
        image(
            2, thing(4, "cat", "cat.n.01 cat.n.02"), thing(5, "cat", "cat.n.01", x=1000.0), thing(6, "dog", "dog.n.01")
        ),
        image(3, thing(7, "cat", "cat.n.01"), width=200),
    ]
    cleaned = clean(rows)
    assert [drops(row) for row in cleaned] == [
        {"object_label_rare": 1},
        {"object_many_synsets": 1, "object_outside_image": 1},
        {},
    ]
    assert [row["reason"] for row in cleaned] == ["", "", "short_side"]


def test_objects_without_a_synset_take_the_most_frequent_one_of_their_label():
    rows = [
        image(
            1,
            thing(1, "batter", "ballplayer.n.01"),
            thing(2, "batter", "ballplayer.n.01"),
            thing(3, "batter", "batter.n.02"),
        ),
        image(2, thing(4, "batter"), thing(5, "gizmo"), thing(6, "gizmo"), thing(7, "doodad")),
    ]
    # batter.n.02 occurs once and goes; what is left of "batter" has one meaning and needs no keyword
    first, second = clean(rows)
    assert names([first, second]) == [
        [("batter", "ballplayer.n.01")] * 2,
        [("batter", "ballplayer.n.01"), ("gizmo", ""), ("gizmo", "")],
    ]
    assert drops(first) == drops(second) == {"object_label_rare": 1}


def test_unmapped_objects_count_for_the_synset_they_take():
    # neither the one mapped nor the one unmapped "batter" would do alone
    rows = [image(1, thing(1, "batter", "batter.n.02"), thing(2, "batter"))]
    assert names(clean(rows)) == [[("batter", "batter.n.02")] * 2]


def test_a_tie_between_synsets_goes_to_the_first_by_name():
    rows = [image(1, *(thing(i, "bow", s) for i, s in enumerate(["bow.n.04", "bow.n.02", "bow.n.04", "bow.n.02", ""])))]
    assert names(clean(rows))[0][-1] == ("bow (sense 2)", "bow.n.02")


def test_labels_of_several_synsets_are_told_apart():
    synsets = ["ballplayer.n.01", "batter.n.02"]
    rows = [image(1, *(thing(i, "batter", synset) for i, synset in enumerate(synsets * 2)), thing(9, "batter"))]
    assert set(names(clean(rows))[0]) == {("batter (ballplayer)", synsets[0]), ("batter (sense 2)", synsets[1])}
    given = {("batter", "batter.n.02"): "batter (semiliquid mixture)"}
    assert {label for label, _ in names(clean(rows, names=given))[0]} == {
        "batter (ballplayer)",
        "batter (semiliquid mixture)",
    }


@pytest.mark.parametrize(
    ("label", "synset", "name"),
    [
        ("batter", "batter.n.01", "batter"),
        ("batter", "batter.n.02", "batter (sense 2)"),
        ("sneakers", "gym_shoe.n.01", "sneakers (gym shoe)"),
        ("run", "run.v.03", "run (verb, sense 3)"),
        ("st. bernard", "st._bernard.n.01", "st. bernard"),
    ],
)
def test_sense_names(label, synset, name):
    assert sense_name(label, synset) == name


def test_attributes_and_relationships_of_removed_objects_go_before_the_count():
    def scene(i, cat="cat"):
        a, b = f"{i}a", f"{i}b"
        return image(
            i,
            thing(a, cat, f"{cat}.n.01"),
            thing(b, "mat", "mat.n.01"),
            attributes=[(a, "black"), (b, "flat"), (b, ""), ("gone", "black")],
            relationships=[(a, "on", b), (b, "", b), (b, "under", "gone")],
        )

    # "black" and "on" occur 6 times, but twice with an object whose label is too rare: 4 are too few
    rows = [scene(i) for i in range(4)] + [scene(4, "axolotl"), scene(5, "okapi")]
    cleaned = clean(rows)
    assert [[a["label"] for a in row["attributes"]] for row in cleaned] == [["flat"]] * 6
    assert drops(cleaned[0]) == {
        "attribute_rare": 1,
        "attribute_empty": 1,
        "attribute_object_removed": 1,
        "relationship_rare": 1,
        "relationship_empty": 1,
        "relationship_object_removed": 1,
    }
    assert drops(cleaned[4])["attribute_object_removed"] == 2
    assert drops(cleaned[4])["relationship_object_removed"] == 2
    fifth = clean([*rows, scene(6)])
    assert [r["label"] for r in fifth[0]["relationships"]] == ["on"]
    assert [a["label"] for a in fifth[0]["attributes"]] == ["black", "flat"]


def test_rare_attributes_stay_outside_visual_genome():
    row = image(1, thing(1, "cat"), attributes=[(1, "black")], relationships=[(1, "on", 1)])
    [cleaned] = clean([row], SourceSettings(format="coco"))
    assert cleaned["attributes"] == row["attributes"]
    assert cleaned["relationships"] == row["relationships"]


def test_images_of_other_splits_count_but_stay_aside():
    # step 7 comes last: the label counts of F.2 are over the whole dataset
    test = image(2, thing(2, "cat", "cat.n.01"), **reject("heldout_split"))
    bad = image(3, thing(3, "dog", "dog.n.01"), **reject("duplicate_id"))
    rows = [image(1, thing(1, "cat", "cat.n.01"), thing(4, "dog", "dog.n.01")), test, bad]
    cleaned = clean(rows)
    assert names(cleaned[:1]) == [[("cat", "cat.n.01")]]
    assert cleaned[1:] == [test, bad]


def test_counts_are_added_in_place():
    first = LabelCounts(Counter({("a", ""): 1}), Counter(red=3), Counter(on=4))
    second = LabelCounts(Counter({("a", ""): 2, ("b", "b.n.01"): 1}), Counter(red=1))
    counts = CountsBySource()
    held = counts
    for part in (CountsBySource({"x": first}), CountsBySource({"x": second, "y": second})):
        counts += part
    assert counts is held
    assert counts.of("x") == LabelCounts(Counter({("a", ""): 3, ("b", "b.n.01"): 1}), Counter(red=4), Counter(on=4))
    assert counts.of("y") == second == LabelCounts(Counter({("a", ""): 2, ("b", "b.n.01"): 1}), Counter(red=1))
    assert first.attributes == Counter(red=3)  # what is added stays as it is


labels = st.sampled_from(["a", "b", "c"])
synsets = st.sampled_from(["", "", "x.n.01", "y.n.01", "x.n.01 y.n.01"])
edges = st.sampled_from([-2.0, -1.0, 0.0, 10.0, 150.0, 299.0, 400.0])
things = st.builds(thing, st.integers(0, 5), labels, synsets, edges, edges, edges, edges)


@st.composite
def annotated(draw):
    objects = list({o["object_id"]: o for o in draw(st.lists(things, max_size=6))}.values())
    ids = st.integers(0, 6)
    return image(
        draw(st.integers(0, 1 << 40)),
        *objects,
        attributes=draw(st.lists(st.tuples(ids, st.sampled_from(["red", "big", ""])), max_size=4)),
        relationships=draw(st.lists(st.tuples(ids, st.sampled_from(["on", "has", ""]), ids), max_size=4)),
        width=draw(st.sampled_from([100, 400])),
    )


@given(st.lists(annotated(), max_size=12), st.sampled_from([VG, V3DET]), st.integers(1, 5))
@settings(deadline=None, max_examples=60)
def test_any_dataset_in_any_batches(rows, source, batches):
    cleaning = CleaningSettings(min_attribute_count=2, min_relationship_count=2)
    cleaned = clean(rows, source, cleaning)
    assert clean(rows, source, cleaning, batches) == cleaned
    pa.Table.from_pylist(cleaned, schema=ANNOTATED_IMAGE)
    for before, after in zip(rows, cleaned, strict=True):
        assert after["row_id"] == before["row_id"]
        if after["reason"] == "short_side":
            continue
        assert after["keep"] == bool(after["objects"])
        present = {o["object_id"] for o in after["objects"]}
        for o in after["objects"]:
            assert o["x"] >= 0 < o["w"]
            assert o["y"] >= 0 < o["h"]
            assert o["x"] + o["w"] <= 400
            assert o["y"] + o["h"] <= 300
        assert {a["object_id"] for a in after["attributes"]} <= present
        assert {r[end] for r in after["relationships"] for end in ("subject_id", "object_id")} <= present
        for kind in ("object", "attribute", "relationship"):
            dropped = sum(count for reason, count in drops(after).items() if reason.startswith(kind))
            assert len(before[f"{kind}s"]) == len(after[f"{kind}s"]) + dropped
    if source is VG:
        # every label that is left is frequent enough among what is left
        pairs = Counter((o["label"], o["synset"]) for row in cleaned if row["keep"] for o in row["objects"])
        assert all(count >= 2 for count in pairs.values())
        for column in ("attributes", "relationships"):
            kept = Counter(item["label"] for row in cleaned if row["keep"] for item in row[column])
            assert all(label and count >= 2 for label, count in kept.items())


def test_an_unseen_label_is_rare():
    empty = KeptLabels({}, frozenset(), frozenset())
    row = clean_image(image(1, thing(1, "cat")), empty, RULES)
    assert row["reason"] == "no_objects"


def test_the_real_visual_genome_and_coco(shared, tmp_path):
    (tmp_path / "images").mkdir()
    for table in ("image_data", "objects", "attributes", "relationships"):
        shutil.copy(shared / f"data/visual_genome/v1.2.0/{table}.json", tmp_path)
    genome = SourceSettings(name="vg", format="visual_genome", path=str(tmp_path), min_label_count=2)
    coco = SourceSettings(
        name="coco",
        path=str(shared / "data/coco_mini"),
        annotations="instances_val2017.json",
        images="images/val2017",
    )
    for source, images, objects in ((genome, 5, 97), (coco, 25, 211)):
        rows = clean(list(read_source(source)), source)
        assert sum(row["keep"] for row in rows) == images
        assert sum(len(row["objects"]) for row in rows) == objects
        with_regions = [make_regions(row, RegionSettings(), 16) for row in rows]
        for row in with_regions:
            counted = drops(row)
            dropped = sum(count for reason, count in counted.items() if reason.startswith("region"))
            assert len(row["regions"]) + dropped == len(row["objects"])
        pa.Table.from_pylist(with_regions, schema=IMAGE_WITH_REGIONS)


def test_invalid_labels_go_with_what_was_said_of_them() -> None:
    def thing(object_id: str, label: str) -> dict:
        return {"object_id": object_id, "label": label, "synset": "", "x": 0.0, "y": 0.0, "w": 9.0, "h": 9.0}

    row = {
        "keep": True,
        "objects": [thing("1", "dog"), thing("2", "wtr"), thing("3", "park")],
        "attributes": [{"object_id": "1", "label": "brown"}, {"object_id": "2", "label": "brown"}],
        "relationships": [
            {"subject_id": "1", "label": "in", "object_id": "3"},
            {"subject_id": "1", "label": "nxt", "object_id": "3"},
            {"subject_id": "2", "label": "nxt", "object_id": "3"},
        ],
        "drops": [{"reason": "object_bad_box", "count": 1}],
    }
    # a word is judged as a label of its kind: the attribute "dog" says nothing against the object
    cleaned = remove_invalid_labels(row, {("object", "wtr"), ("relationship", "nxt"), ("attribute", "dog")})
    assert [o["object_id"] for o in cleaned["objects"]] == ["1", "3"]
    assert cleaned["attributes"] == row["attributes"][:1]
    assert cleaned["relationships"] == row["relationships"][:1]
    assert {drop["reason"]: drop["count"] for drop in cleaned["drops"]} == {
        "attribute_object_removed": 1,
        "object_bad_box": 1,
        "object_label_invalid": 1,
        "relationship_label_invalid": 1,
        "relationship_object_removed": 1,
    }
    nothing = remove_invalid_labels(row, {("object", label) for label in ("dog", "wtr", "park")})
    assert (nothing["keep"], nothing["reason"]) == (False, "no_objects")
    assert remove_invalid_labels(row, set()) is row


def test_senses_are_named_by_a_person_or_on_request_by_their_synsets():
    sources = [SourceSettings(name="coco"), VG]
    with pytest.raises(SettingsError, match=rf"senses of the labels of '{VG.name}' .* labels.names_by_synset=true"):
        check_names(LabelSettings(), sources)
    check_names(LabelSettings(names="names.tsv"), sources)
    check_names(LabelSettings(names_by_synset=True), sources)
    check_names(LabelSettings(), sources[:1])  # only people's free labels have senses
