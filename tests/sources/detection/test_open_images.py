from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmgic.errors import InputError
from mmgic.schema import DROPS, REASONS
from mmgic.settings import SourceSettings
from mmgic.sources.detection.open_images_content import predicate_name
from mmgic.sources.formats import read_source

V4 = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"
CLICKS = ",".join(f"XClick{i}{axis}" for axis in "XY" for i in range(1, 5))
VRD = "ImageID,LabelName1,LabelName2,XMin1,XMax1,YMin1,YMax1,XMin2,XMax2,YMin2,YMax2,RelationshipLabel"
DOG, MAN, PERSON, HAT, LEATHER = "/m/0bt9lr", "/m/04yx4", "/m/01g317", "/m/02dl1y", "/m/04lbp"
BOX = (0, 1, 0, 1)
NARRATIVES = "open_images_train_v6_localized_narratives-0000{}-of-00010.jsonl"
A, B = "00000000000000e1", "1e10000000000000"  # both read as numbers where one is careless


def line(image, label, box, flags=(0, 0, 0, 0, 0), extra=""):
    return ",".join([image, "xclick", label, "1", *map(str, box), *map(str, flags)]) + extra


def vrd(image, first, second, box1, box2, label):
    return ",".join([image, first, second, *map(str, box1), *map(str, box2), label])


@pytest.fixture
def folder(tmp_path: Path):
    """Writes a small Open Images folder; keyword arguments replace the lines of its files."""

    def make(boxes, relations=None, sizes=((A, 200, 100), (B, 100, 100)), name="train-annotations-bbox.csv", header=V4):
        (tmp_path / "images/train").mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("\n".join([header, *boxes]) + "\n")
        (tmp_path / "class-descriptions-boxable.csv").write_text(
            f'{DOG},Dog\n{MAN},Man\n{PERSON},Person\n{HAT},"Hat, wide"\n'
        )
        (tmp_path / "oidv6-attributes-description.csv").write_text(f"id,name\n{LEATHER},(made of)Leather\n")
        (tmp_path / "oidv6-relationships-description.csv").write_text("wears,wears\ninside_of,inside_of\n")
        if relations is not None:
            (tmp_path / "oidv6-train-annotations-vrd.csv").write_text("\n".join([VRD, *relations]))
        if sizes:
            lines = [",".join(map(str, size)) for size in sizes]
            (tmp_path / "train_sizes-00.csv").write_text("\n".join(["image_id,image_w,image_h", *lines]))
        return tmp_path

    return make


def read(folder, **changes):
    rows = list(read_source(SourceSettings(name="oi", format="open_images", path=str(folder), **changes)))
    assert all(row["keep"] or row["reason"] in REASONS for row in rows)
    assert {d["reason"] for row in rows for d in row["drops"]} <= set(DROPS)
    return rows


def labels(row):
    return [(o["label"], o["x"], o["y"], o["w"], o["h"]) for o in row["objects"]]


def drops(row):
    return {d["reason"]: d["count"] for d in row["drops"]}


def test_boxes_become_pixels_and_ids_stay_text(folder):
    path = folder([line(B, DOG, (0.25, 0.5, 0.5, 1)), line(A, HAT, (0, 0.5, 0.25, 0.5)), line(A, DOG, (0.5, 1, 0, 1))])
    first, second = read(path)
    assert (first["image_id"], first["width"], first["height"]) == (A, 200, 100)
    assert labels(first) == [("Hat, wide", 0, 25, 100, 25), ("Dog", 100, 0, 100, 100)]
    assert second["image_id"] == B
    assert labels(second) == [("Dog", 25, 50, 25, 50)]
    assert first["image_path"].endswith(f"images/train/{A}.jpg")


@pytest.mark.parametrize(
    ("header", "tail"),
    [(V4, ""), (f"{V4},{CLICKS}", ",0.1" * 8), (",".join(V4.split(",")[:8]), None)],
    ids=["V4", "V6", "V2"],
)
def test_columns_go_by_their_names(folder, header, tail):
    def row(image, label, box):
        return ",".join(line(image, label, box).split(",")[:8]) if tail is None else line(image, label, box, extra=tail)

    plain = read(folder([line(A, DOG, (0.1, 0.2, 0.3, 0.4))]))
    assert read(folder([row(A, DOG, (0.1, 0.2, 0.3, 0.4))], header=header)) == plain
    # another order of the columns
    names = header.split(",")
    order = random.Random(3).sample(range(len(names)), len(names))
    values = row(A, DOG, (0.1, 0.2, 0.3, 0.4)).split(",")
    assert read(folder([",".join(values[i] for i in order)], header=",".join(names[i] for i in order))) == plain


@pytest.mark.parametrize("header", ["", "id,name\n", "LabelName,DisplayName\n"])
def test_class_files_with_and_without_header(folder, header):
    path = folder([line(A, DOG, (0, 1, 0, 1))])
    (path / "class-descriptions-boxable.csv").unlink()
    (path / "oidv7-class-descriptions-boxable.csv").write_text(f"{header}{DOG},Dog\n")
    assert labels(read(path)[0])[0][0] == "Dog"


def test_attributes_and_relationships_find_their_boxes(folder):
    man, hat, other = (0.1, 0.5, 0.2, 0.9), (0.2, 0.3, 0.1, 0.25), (0.6, 0.9, 0.2, 0.9)
    near = tuple(edge + 0.0004 for edge in man)  # other digits than in the boxes' file
    path = folder(
        [line(A, MAN, other), line(A, MAN, man), line(A, HAT, hat)],
        [
            vrd(A, MAN, HAT, near, hat, "wears"),
            vrd(A, MAN, HAT, near, hat, "wears"),  # said twice
            vrd(A, HAT, MAN, hat, other, "inside_of"),
            vrd(A, HAT, LEATHER, hat, hat, "is"),
            vrd(A, MAN, "/m/unknown", man, man, "is"),
            vrd(A, DOG, HAT, man, hat, "wears"),  # no dog here
            vrd(A, MAN, HAT, (0.3, 0.4, 0.2, 0.9), hat, "wears"),  # no man there
            vrd(A, DOG, LEATHER, hat, hat, "is"),
            vrd(B, MAN, HAT, man, hat, "wears"),  # an image without boxes
        ],
    )
    first, second = read(path)
    ids = {(o["label"], o["x"]): o["object_id"] for o in first["objects"]}
    wearer, wide, aside = ids["Man", 20.0], ids["Hat, wide", 40.0], ids["Man", 120.0]
    assert first["relationships"] == [
        {"subject_id": wide, "label": "inside of", "object_id": aside},
        {"subject_id": wearer, "label": "wears", "object_id": wide},
    ]
    assert first["attributes"] == [{"object_id": wide, "label": "made of leather"}]
    assert drops(first) == {
        "relationship_object_removed": 2,
        "attribute_object_removed": 1,
        "attribute_label_unknown": 1,
    }
    assert second["image_id"] == B
    assert drops(second) == {"relationship_object_removed": 1}


def test_names_of_predicates():
    raw = ["(made of)Leather", "(made of)Textile", "talk_on_phone", "Wooden", "holding_hands"]
    assert [*map(predicate_name, raw)] == [
        "made of leather",
        "made of textile",
        "talk on phone",
        "wooden",
        "holding hands",
    ]


def test_groups_depictions_and_unknown_flags(folder):
    box = (0, 1, 0, 1)
    boxes = [line(A, DOG, box, (0, 0, 1, 0, 0)), line(A, MAN, box, (0, 0, 0, 1, 0)), line(A, HAT, box, (-1,) * 5)]
    path = folder(boxes, [vrd(A, DOG, LEATHER, box, box, "is")])
    assert len(read(path)[0]["objects"]) == 3
    [row] = read(path, keep_groups=False, keep_depictions=False)
    assert [o["label"] for o in row["objects"]] == ["Hat, wide"]
    assert drops(row) == {"object_group": 1, "object_depiction": 1, "attribute_object_removed": 1}


def test_faulty_boxes_are_counted(folder):
    box = (0, 0.5, 0, 0.5)
    [row] = read(
        folder(
            [
                line(A, DOG, box),
                line(A, DOG, ("0.0", "0.50", "0", "0.5")),  # the same box in other digits
                line(A, MAN, box),  # another class of it
                line(A, "/m/nobody", box),
                line(A, DOG, ("x", 0.5, 0, 0.5)),
                line(A, DOG, ("nan", 0.5, 0, 0.5)),
            ]
        )
    )
    assert [o["label"] for o in row["objects"]] == ["Man", "Dog"]
    assert drops(row) == {"object_duplicate": 1, "object_label_unknown": 1, "object_bad_box": 2}


def test_lines_that_are_no_rows_are_counted(folder):
    path = folder(
        [line(A, DOG, (0, 1, 0, 1)), "cut,short", line("", DOG, (0, 1, 0, 1)), line("../up", DOG, (0, 1, 0, 1))]
    )
    (path / NARRATIVES.format(0)).write_text(f'{{"image_id": "{A}", "capt')
    rows = {row["image_id"]: row for row in read(path)}
    assert rows[A]["keep"]
    bad = [
        "#",
        "../up",
        "train-annotations-bbox.csv#3",
        "open_images_train_v6_localized_narratives-00000-of-00010.jsonl#1",
    ]
    assert set(rows) == {A, *bad}
    assert {rows[name]["reason"] for name in bad} == {"bad_record"}


def test_narratives_of_several_people(folder):
    path = folder([line(A, DOG, (0, 1, 0, 1)), line(B, DOG, (0, 1, 0, 1))])
    traces = [[{"x": -0.1, "y": 1.2, "t": 0.0}] * 500]
    said = [(A, 7, "In this  image a dog."), (A, 3, "A dog runs over a wide field."), (A, 2, "A dog runs."), (A, 1, "")]
    said += [(A, 9, "A dog runs over a long field."), (B, 1, " "), ("ffff", 1, "Another image.")]
    records = [{"image_id": i, "annotator_id": a, "caption": c, "traces": traces} for i, a, c in said]
    for number, part in enumerate((records[:2], records[2:])):
        (path / NARRATIVES.format(number)).write_text("".join(json.dumps(record) + "\n" for record in part))
    (path / "open_images_test_localized_narratives.jsonl").write_text(json.dumps({"image_id": B, "caption": "Test."}))
    first, second = read(path)
    assert first["narrative"] == "A dog runs over a wide field."
    assert second["narrative"] == ""


def test_sizes_from_headers_count_stored_pixels(folder):
    path = folder(
        [line(A, DOG, (0.5, 1, 0, 1)), line(B, DOG, (0, 1, 0, 1)), line("c" * 16, DOG, (0, 1, 0, 1))], sizes=()
    )
    turned = Image.new("RGB", (60, 40))
    exif = turned.getexif()
    exif[0x0112] = 6  # to be shown a quarter turned
    turned.save(path / f"images/train/{A}.jpg", exif=exif)
    (path / f"images/train/{B}.jpg").write_bytes(b"\xff\xd8 no picture")
    rows = read(path)
    assert (rows[0]["width"], rows[0]["height"], labels(rows[0])) == (60, 40, [("Dog", 30, 0, 30, 40)])
    assert [row["reason"] for row in rows] == ["", "image_undecodable", "image_missing"]


def test_validation_counts_and_test_does_not(folder):
    path = folder([line(A, DOG, (0, 1, 0, 1))])
    (path / "validation-annotations-bbox.csv").write_text("\n".join([V4, line(B, MAN, (0, 1, 0, 1))]))
    (path / "test-annotations-bbox.csv").write_text("\n".join([V4, line("a" * 16, MAN, (0, 1, 0, 1))]))
    (path / "validation").mkdir()
    Image.new("RGB", (100, 100)).save(path / "validation" / f"{B}.jpg")
    rows = read(path)
    assert [row["image_id"] for row in rows] == [A, B]
    assert rows[1]["image_path"].endswith(f"/validation/{B}.jpg")
    assert Path(rows[1]["image_path"]).is_file()


def test_unusable_folders(folder, tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read(tmp_path / "nowhere")
    path = folder([line(A, DOG, (0, 1, 0, 1))], header=V4.replace("XMin", "Left"))
    with pytest.raises(InputError, match="has no column XMin"):
        read(path)
    folder([], [], name="oidv6-train-annotations-bbox.csv")
    with pytest.raises(InputError, match="keep one of them"):
        read(path)
    (path / "oidv6-train-annotations-bbox.csv").unlink()
    (path / "oidv6-attributes-description.csv").unlink()
    with pytest.raises(InputError, match="oidv6-attributes-description"):
        read(path)
    (path / "train-annotations-bbox.csv").unlink()
    with pytest.raises(InputError, match="holds no box files"):
        read(path)


def test_a_folder_on_other_storage(folder):
    path = folder([line(A, DOG, BOX), line(B, MAN, BOX), "cut,short"], [vrd(A, DOG, LEATHER, BOX, BOX, "is")])
    memory = fsspec.filesystem("memory")
    memory.put(f"{path}/", "/open_images/", recursive=True)
    memory.makedirs("/open_images/images", exist_ok=True)
    found, expected = read("memory://open_images"), read(path)
    for row in (*found, *expected):
        row["image_path"] = row["image_path"].rpartition("/")[2]
    assert found == expected
    assert len(found) == 3


@settings(max_examples=15, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_lines_does_not_matter(tmp_path_factory, rng):
    path = tmp_path_factory.mktemp("oi")
    (path / "images").mkdir()
    images = [f"{rng.getrandbits(64):016x}" for _ in range(5)]
    edges = [sorted(rng.choices(range(11), k=2)) + sorted(rng.choices(range(11), k=2)) for _ in range(12)]
    boxes = [(rng.choice(images), rng.choice([DOG, MAN, HAT]), [e / 10 for e in box]) for box in edges]
    lines = [line(image, label, box) for image, label, box in boxes]
    relations = [vrd(image, label, LEATHER, box, box, "is") for image, label, box in boxes]
    (path / "class-descriptions.csv").write_text(f"{DOG},Dog\n{MAN},Man\n{HAT},Hat\n")
    (path / "attributes-description.csv").write_text(f"{LEATHER},leather\n")
    (path / "train_sizes.csv").write_text("\n".join(["image_id,image_w,image_h", *(f"{i},50,40" for i in images)]))
    results = []
    for _ in range(2):
        rng.shuffle(lines)
        rng.shuffle(relations)
        (path / "train-annotations-bbox.csv").write_text("\n".join([V4, *lines]))
        (path / "train-annotations-vrd.csv").write_text("\n".join([VRD, *relations]))
        results.append(read(path))
    assert results[0] == results[1]
    assert [row["image_id"] for row in results[0]] == sorted({image for image, *_ in boxes})
    boxes_in = Counter((image, label, tuple(box)) for image, label, box in boxes)
    assert sum(len(row["objects"]) for row in results[0]) == len(boxes_in)
    assert sum(len(row["attributes"]) for row in results[0]) == len(boxes_in)


def test_real_samples(shared, folder):
    """The heads of the official files, and 46 real photos with their sizes."""
    heads = shared / "data/format_samples/open_images_v6"
    path = folder([])
    (path / "train-annotations-bbox.csv").unlink()
    for head in heads.iterdir():
        (path / head.name.replace(".head", "")).write_bytes(head.read_bytes())
    meta = shared / "data/open_images_meta"
    (path / "class-descriptions-boxable.csv").write_bytes((meta / "class-descriptions-boxable.csv").read_bytes())
    rows = read(path)
    assert {row["reason"] for row in rows} <= {"", "image_missing", "bad_record"}
    assert len(rows) >= 3

    sample = shared / "data/open_images_sample"
    boxes = [x.split(",") for x in (sample / "apple_boxes_normalised.csv").read_text().splitlines()[1:]]
    lines = [line(image, "/m/014j1m", box) for image, *box in boxes]
    (path / "validation-annotations-bbox.csv").write_text("\n".join([V4, *lines]))
    (path / "oidv6-train-annotations-bbox.csv").unlink()
    (path / "oidv6-train-annotations-vrd.csv").unlink()
    (path / "validation_sizes.csv").write_bytes((meta / "validation_sizes.csv").read_bytes())
    rows = read(path, images=str(sample / "images"))
    assert len(rows) == len({image for image, *_ in boxes})
    assert sum(len(row["objects"]) for row in rows) == len(boxes)
    assert {o["label"] for row in rows for o in row["objects"]} == {"Apple"}
    for row in rows:
        if Path(row["image_path"]).is_file():
            assert Image.open(row["image_path"]).size == (row["width"], row["height"])


def indexed(lines):
    return [f",{lines[0]}", *(f"{i},{text}" for i, text in enumerate(lines[1:]))]


SHAPES = {
    "index column": indexed,
    "index without a name": lambda lines: [lines[0], *indexed(lines)[1:]],
    "comma at the end": lambda lines: [lines[0], *(f"{text}," for text in lines[1:])],
    "comma at all ends": lambda lines: [f"{text}," for text in lines],
    "comma after the header": lambda lines: [f"{lines[0]},", *lines[1:]],
    "two files after each other": lambda lines: [*lines[:2], lines[0], *lines[2:], lines[0]],
    "quoted": lambda lines: ['"' + text.replace(",", '","') + '"' for text in lines],
    "blank lines": lambda lines: [lines[0], *(part for text in lines[1:] for part in (text, ""))],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_tables_as_tools_write_them(folder, shape):
    lines = [V4, line(A, DOG, (0.1, 0.2, 0.3, 0.4)), line(A, MAN, BOX), line(B, DOG, BOX)]
    plain = read(folder(lines[1:]))
    header, *rest = SHAPES[shape](lines)
    assert read(folder(rest, header=header)) == plain


def test_a_column_that_comes_twice_is_refused_with_the_files_name(folder):
    lines = [line(A, DOG, BOX, extra=",0.5")]
    with pytest.raises(InputError, match=r"train-annotations-bbox.csv has two columns XMin"):
        read(folder(lines, header=f"{V4},XMin"))
