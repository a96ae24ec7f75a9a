import csv
import json
import random
import tracemalloc
from collections import Counter
from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageOps

from mmgic.errors import InputError
from mmgic.images import read_bytes, read_image
from mmgic.schema import ANNOTATED_IMAGE
from mmgic.settings import SourceSettings
from mmgic.sources.detection.objects365 import corrected_name
from mmgic.sources.formats import read_source
from mmgic.sources.reading.files import annotation_files


def image(image_id, **fields):
    return {"id": image_id, "file_name": f"{image_id}.jpg", "width": 640, "height": 480, **fields}


def box(box_id, image_id, **fields):
    return {"id": box_id, "image_id": image_id, "category_id": 1, "bbox": [1, 2.5, 30, 40], "iscrowd": 0, **fields}


CATEGORIES = [{"id": 1, "name": "Table Tennis "}, {"id": "2", "name": "bow_(weapon)"}, {"id": 3, "name": "  "}]


@pytest.fixture
def read(write, tmp_path):
    def read_file(images=(), annotations=(), categories=CATEGORIES, **source):
        # annotations first, as nothing in JSON orders the keys
        write("a.json", {"annotations": annotations, "categories": categories, "images": images})
        return list(read_source(SourceSettings(name="det", path=str(tmp_path), annotations="a.json", **source)))

    return read_file


def test_objects_are_gathered_by_image_in_file_order(read):
    rows = read(
        [image(7), image("8", width=640.0), image(9)],
        [box(5, "8", category_id="2"), box(4, 7), box(3, 8, bbox=[0, 0, 1, 1])],
    )
    assert [(row["image_id"], row["source"], row["keep"]) for row in rows] == [
        ("7", "det", True),
        ("8", "det", True),
        ("9", "det", True),
    ]
    assert rows[0]["objects"] == [
        {"object_id": "4", "label": "Table Tennis", "synset": "", "x": 1.0, "y": 2.5, "w": 30.0, "h": 40.0}
    ]
    assert [(o["object_id"], o["label"]) for o in rows[1]["objects"]] == [("5", "bow (weapon)"), ("3", "Table Tennis")]
    assert (rows[1]["width"], rows[1]["height"]) == (640, 480)
    assert rows[2]["objects"] == []


def test_annotations_without_a_usable_object_are_counted(read, dropped):
    rows = read(
        [image(7)],
        [
            box(1, 7, iscrowd=1),
            box(2, 7, category_id=99),
            box(3, 7, category_id=3),  # its name is blank
            box(4, 7, category_id=[]),
            box(5, 7, bbox=[1, 2, 3]),
            box(6, 7, bbox=[1, 2, None, 4]),
            box(7, 7, bbox=["one", 2, 3, 4]),
            box(8, 7),
            box(8, 7),  # same id, label and box
            box(9, 7),  # same label, same box
            {"image_id": 7},
            box(10, 7, category_id=2),
        ],
    )
    assert dropped(rows) == {
        "object_crowd": 1,
        "object_label_unknown": 4,
        "object_bad_box": 3,
        "object_duplicate": 2,
    }
    assert [o["object_id"] for o in rows[0]["objects"]] == ["8", "10"]


def test_a_box_of_several_categories_is_an_object_for_each(read):
    [row] = read([image(7)], [box(5, 7, category_id=[1, 2]), box(6, 7, category_id=[2], bbox=[0, 0, 5, 5])])
    assert [(o["object_id"], o["label"]) for o in row["objects"]] == [
        ("5", "Table Tennis"),
        ("5/1", "bow (weapon)"),
        ("6", "bow (weapon)"),
    ]


def test_boxes_without_ids_get_their_place_for_an_id(read):
    [row] = read([image(7)], [box(None, 7), box(None, 7, category_id=2)])
    assert [o["object_id"] for o in row["objects"]] == ["#000000", "#000001"]


def test_every_record_gives_one_row_and_the_bad_ones_say_why(read):
    rows = read(
        [image(7), image(7), None, {"file_name": "x.jpg"}, image(8, width=None), image(9, height=0), image(7)],
        [box(1, 7), box(2, 70), box(3, 70), {"category_id": 1}],
    )
    assert [(row["image_id"], row["reason"]) for row in rows] == [
        ("7", ""),
        ("7", "duplicate_id"),
        ("#3", "bad_record"),
        ("#4", "bad_record"),
        ("8", "image_missing"),  # its size would be that of the file
        ("9", "image_missing"),
        ("7", "duplicate_id"),
        ("", "bad_record"),
        ("70", "bad_record"),
    ]
    assert all(row["detail"] for row in rows[1:])
    assert "2 annotations" in rows[-1]["detail"]
    assert len({row["row_id"] for row in rows}) == len(rows)


@pytest.mark.parametrize(
    "name",
    [
        "../x.jpg",
        "a/../../x.jpg",
        "/etc/passwd",
        "..\\x.jpg",
        "s3://bucket/x.jpg",
        "a::file:///etc/passwd",
        "",
        None,
        5,
        ".",
    ],
)
def test_an_image_name_cannot_leave_the_folder(read, name):
    [row] = read([image(7, file_name=name)], [box(1, 7)])
    assert row["reason"] == "bad_record"
    assert row["image_path"] == ""


@pytest.mark.parametrize(
    ("on_disk", "file_name"),
    [
        ("images/000000000007.jpg", "000000000007.jpg"),  # COCO
        ("images/v1/patch8/o_7.jpg", "images/v1/patch8/o_7.jpg"),  # Objects365, as in the validation archives
        ("images/patch8/o_7.jpg", "images/v1/patch8/o_7.jpg"),  # as the training archives unpack
        ("images/n07745046/7.jpg", "images/n07745046/7.jpg"),  # V3Det
        ("images/7.jpg", "0/7.jpg"),  # BigDetection
    ],
)
def test_image_names_are_resolved_to_the_layout_on_disk(read, tmp_path, on_disk, file_name):
    (tmp_path / on_disk).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / on_disk).touch()
    rows = read([image(6, file_name="gone.jpg"), image(7, file_name=file_name)], [box(1, 7)])
    assert rows[0]["image_path"] == str(tmp_path / "images/gone.jpg")
    assert rows[1]["image_path"] == str(tmp_path / on_disk)


def test_the_caption_is_the_one_of_the_lowest_annotation_id(read, write):
    captions = [
        {"image_id": 7, "id": 20, "caption": "second"},
        {"image_id": "7", "id": 3, "caption": " the\n first  one "},
        {"image_id": 7, "id": 1, "caption": "  "},
        {"image_id": 9, "id": 2, "caption": "of an image that is not here"},
    ]
    write("captions.json", {"annotations": captions})
    rows = read([image(7), image(8)], [box(1, 7)], captions="captions.json")
    assert [row["caption"] for row in rows] == ["the first one", ""]


ids = st.one_of(st.integers(0, 4), st.integers(0, 4).map(str), st.none(), st.just(True))
images = st.lists(st.one_of(st.none(), ids.map(image), st.fixed_dictionaries({"id": ids})), min_size=1, max_size=8)
annotations = st.lists(st.builds(box, st.integers(0, 9), ids), min_size=1, max_size=12)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(images, annotations)
def test_rows_out_are_records_in(read, images, annotations):
    rows = read(images, annotations)
    name = lambda value: "" if value is None or value is True else str(value)  # noqa: E731
    known = {name(record["id"]) for record in images if record} - {""}
    orphans = {name(annotation["image_id"]) for annotation in annotations} - known
    assert len(rows) == len(images) + len(orphans)
    assert len({row["row_id"] for row in rows}) == len(rows)
    boxes = sum(len(r["objects"]) + sum(d["count"] for d in r["drops"]) for r in rows if r["reason"] != "duplicate_id")
    usable = {row["image_id"] for row in rows if row["keep"]}
    assert boxes == sum(name(annotation["image_id"]) in usable for annotation in annotations)
    assert pa.Table.from_pylist(rows, schema=ANNOTATED_IMAGE).to_pylist() == rows


def test_a_file_cut_short_anywhere_is_refused_before_the_first_row(write, tmp_path):
    path = write("a.json", {"images": [image(7)], "annotations": [box(1, 7)], "categories": CATEGORIES})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"a\.json"):
            next(read_source(SourceSettings(path=str(tmp_path), annotations="a.json")))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\xff\xff not JSON", "not JSON"),
        (b"<html>Sign in</html>", "is a web page"),
        (b"[]", "no 'categories' list"),
        (b'{"annotations": [{"image_id": 1, "caption": "a"}], "images": [{"id": 1}]}', "no 'categories' list"),
        (b'{"categories": [{"id": 1, "name": "a"}], "images": [{"id": 1}]}', "no 'annotations' list"),
        (b'{"categories": [{"id": 1, "name": "a"}], "annotations": [{"image_id": 1}]}', "no 'images' list"),
    ],
)
def test_a_file_of_another_kind_is_refused(write, tmp_path, content, says):
    write("a.json", {}).write_bytes(content)
    with pytest.raises(InputError, match=says):
        list(read_source(SourceSettings(path=str(tmp_path), annotations="a.json")))


def test_missing_files_and_folders_are_named(write, tmp_path):
    write("a.json", {"images": [image(7)], "annotations": [box(1, 7)], "categories": CATEGORIES})
    folder = str(tmp_path)
    for source, says in [
        (SourceSettings(name="o", path=f"{folder}/gone", annotations="a.json"), "source 'o': the folder .*gone"),
        (SourceSettings(name="o", path="", annotations="a.json"), "does not exist; set its 'path'"),
        (SourceSettings(name="o", path="nothing://x", annotations="a.json"), "cannot be opened"),
        (SourceSettings(path=folder, annotations="b.json"), "there is no file .*b.json"),
        (SourceSettings(path=folder), "names no annotations file"),
        (
            SourceSettings(path=folder, annotations="a.json", images="pictures"),
            "image folder .*pictures does not exist",
        ),
        (SourceSettings(path=folder, annotations="a.json", captions="c.json"), "there is no file .*c.json"),
        (SourceSettings(path=folder, annotations="a.json", captions="a.json"), "holds no captions"),
    ]:
        with pytest.raises(InputError, match=says):
            list(read_source(source))


def test_memory_does_not_grow_with_the_dataset(read, write, tmp_path):
    def peak(images):
        boxes = [box(i, i % images) for i in range(3 * images)]
        random.Random(0).shuffle(boxes)
        write("b.json", {"images": [image(i) for i in range(images)], "annotations": boxes, "categories": CATEGORIES})
        del boxes
        tracemalloc.start()
        count = sum(
            len(row["objects"]) for row in read_source(SourceSettings(path=str(tmp_path), annotations="b.json"))
        )
        high = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert count == images  # the other boxes of an image repeat the first
        return high

    peak(10)  # imports and caches
    assert peak(3600) < peak(1200) + 100_000


def test_coco_itself(shared, dropped):
    folder = shared / "data/coco_mini"
    for split, images, boxes, crowds in (("train2017", 26, 333, 5), ("val2017", 25, 213, 2)):
        source = SourceSettings(
            name=split,
            path=str(folder),
            annotations=f"instances_{split}.json",
            images=f"images/{split}",
            captions=f"captions_{split}.json",
        )
        rows = list(read_source(source))
        assert len(rows) == images
        assert all(row["keep"] for row in rows)
        assert all((folder / row["image_path"]).is_file() for row in rows)
        assert sum(len(row["objects"]) for row in rows) == boxes - crowds
        assert dropped(rows) == Counter(object_crowd=crowds)
        captions = json.loads((folder / f"captions_{split}.json").read_text())["annotations"]
        for row in rows:
            own = {c["id"]: c["caption"] for c in captions if str(c["image_id"]) == row["image_id"]}
            assert row["caption"].split() == own[min(own)].split()


def test_boxes_and_names_of_the_other_real_datasets(shared, read):
    lvis = json.loads((shared / "data/lvis/lvis_val_100.json").read_text())
    rows = read(lvis["images"], lvis["annotations"], lvis["categories"])
    assert len(rows) == 100
    assert sum(len(row["objects"]) for row in rows) == len(lvis["annotations"])

    v3det = json.loads((shared / "data/v3det/v3det_2023_v1_train_cat_info.json").read_text())
    names = json.loads((shared / "data/bigdetection/bigdetection_600_classes.json").read_text())
    urls = json.loads((shared / "data/v3det/v3det_2023_v1_image2url_val.json").read_text())
    unified = [{"id": i, "name": name} for i, name in enumerate(names)]
    for categories in (v3det, unified):
        boxes = [box(i, 7, category_id=category["id"], bbox=[i, 0, 5, 5]) for i, category in enumerate(categories)]
        [row] = read([image(7, file_name=next(iter(urls)))], boxes, categories)
        assert len(row["objects"]) == len(categories)
        assert [o["label"] for o in row["objects"]] == [
            " ".join(c["name"].replace("_", " ").split()) for c in categories
        ]
        assert row["image_path"].endswith(next(iter(urls)))
    assert {"bow (weapon)", "car (automobile)", "air conditioner"} <= {o["label"] for o in row["objects"]}


def test_objects365_names_are_corrected_and_files_order_them_differently(read):
    typed = {
        "Moniter/TV": "Monitor/TV",
        "Dinning Table ": "Dining Table",
        "Hamimelon": "Hami Melon",
        "Noddles": "Noodles",
    }
    names = [*typed, *(f"Thing {i} " for i in range(361))]
    categories = [{"id": i, "name": name} for i, name in enumerate(names, start=1)]
    boxes = [box(i, 7, category_id=i, bbox=[i, 0, 5, 5]) for i in range(1, 6)]
    expected = [*typed.values(), "Thing 0"]
    for order in (categories, categories[::-1]):
        [row] = read([image(7)], boxes, order)
        assert [o["label"] for o in row["objects"]] == expected
    # v1 writes lower case
    [row] = read([image(7)], boxes, [{**c, "name": c["name"].lower()} for c in categories])
    assert [o["label"] for o in row["objects"]] == [name.lower() for name in expected]
    # in other datasets the same word may be right
    [row] = read([image(7)], boxes[:1], categories[:4])
    assert row["objects"][0]["label"] == "Moniter/TV"


def test_real_typing_errors_of_objects365(shared):
    lines = (shared / "data/objects365/Objects365_names_fix.csv").read_text().splitlines()
    wrong = [(old, new) for _, old, new in csv.reader(lines) if old != new]
    assert len(wrong) == 13
    for old, new in wrong:
        assert corrected_name(old).replace(" ", "").lower() == new.replace(" ", "").lower()


def test_several_files_keep_their_ids_apart(write):
    content = {"images": [image(7)], "annotations": [box(1, 7)], "categories": CATEGORIES}
    for split in ("train", "val"):
        write(f"annotations/set_{split}.json", content)
    write("annotations/other.json", {})
    folder = str(write("x.json", {}).parent)
    source = SourceSettings(name="s", path=folder, annotations="annotations/set_*.json")
    rows = list(read_source(source))
    assert [row["image_id"] for row in rows] == ["set_train/7", "set_val/7"]
    assert all(row["keep"] and len(row["objects"]) == 1 for row in rows)
    with pytest.raises(InputError, match="there is no file"):
        list(read_source(SourceSettings(name="s", path=folder, annotations="annotations/none_*.json")))


def test_two_named_files_are_read_together_each_with_its_captions(write):
    for split, category in (("train", 1), ("val", "2")):
        content = {"images": [image(7)], "annotations": [box(1, 7, category_id=category)], "categories": CATEGORIES}
        write(f"{split}/set.json", content)
        write(f"{split}.json", {"annotations": [{"id": 1, "image_id": 7, "caption": f"a {split} caption"}]})
    folder = str(write("x.json", {}).parent)
    source = SourceSettings(name="s", path=folder, annotations="train/set.json + val/set.json")
    both = [replace(source, captions="train.json + val.json"), replace(source, captions="val.json")]
    first, second = [list(read_source(source)) for source in both]
    # files of one name go by their folders too
    assert [row["image_id"] for row in first] == ["train/set/7", "val/set/7"]
    assert [[o["label"] for o in row["objects"]] for row in first] == [["Table Tennis"], ["bow (weapon)"]]
    assert [row["caption"] for row in first] == ["a train caption", "a val caption"]
    assert [row["caption"] for row in second] == ["a val caption"] * 2
    assert set(annotation_files(both[0])) >= {f"{folder}/{name}" for name in ("train/set.json", "val/set.json")}
    with pytest.raises(InputError, match=r"holds a part of train/set.json \+ none.json, but no none.json"):
        list(read_source(replace(source, annotations="train/set.json + none.json | train/set.json")))
    with pytest.raises(InputError, match=r"there is no file .*/a.json"):
        list(read_source(replace(source, annotations="a.json + b.json")))


def test_splits_that_share_image_names_keep_their_images(write, tmp_path):
    content = {"images": [image(1), image(2)], "annotations": [box(1, 1), box(2, 2)], "categories": CATEGORIES}
    for split in ("train", "val"):
        write(f"instances_{split}.json", content)
        (tmp_path / f"{split}2017").mkdir()
    for name in ("train2017/1.jpg", "train2017/2.jpg", "val2017/1.jpg"):
        (tmp_path / name).touch()
    source = SourceSettings(path=str(tmp_path), annotations="instances_*.json", images="train2017 | val2017 | images")
    paths = [row["image_path"].removeprefix(f"{tmp_path}/") for row in read_source(source)]
    # what its own split lacks may lie in the other's folder: BigDetection splits in a way of its own
    assert paths == ["train2017/1.jpg", "train2017/2.jpg", "val2017/1.jpg", "train2017/2.jpg"]


def test_images_of_another_dataset_are_set_aside(read):
    names = ["objects365_v1_00000007", "0123456789abcdef", "000000391895"]
    images = [image(i, file_name=f"val/{name}.jpg") for i, name in enumerate(names, start=1)]
    rows = read(images, [box(i, i) for i in range(1, 4)], image_names="objects365_v[12]_[0-9]+")
    assert [row["reason"] for row in rows] == ["", "other_dataset", "other_dataset"]
    with pytest.raises(InputError, match=r"image_names '\[' is no regular expression"):
        read(images, [box(1, 1)], image_names="[")


def test_the_first_choice_of_files_that_is_there(write, capsys):
    content = {"images": [image(7)], "annotations": [box(1, 7)], "categories": CATEGORIES}
    folder = str(write("annotations/native.json", content).parents[1])
    source = SourceSettings(name="s", path=folder, annotations="better.json | annotations/nat*.json")
    assert annotation_files(source)[:2] == [f"{folder}/better.json", f"{folder}/annotations/nat*.json"]
    assert [row["image_id"] for row in read_source(source)] == ["7"]
    assert capsys.readouterr().out == "s: there is no better.json; using annotations/nat*.json\n"
    write("better.json", {**content, "images": [image(8)], "annotations": [box(1, 8)]})
    assert [row["image_id"] for row in read_source(source)] == ["8"]
    assert capsys.readouterr().out == ""


def test_one_id_for_all_annotations_merges_no_boxes(read, dropped):
    boxes = [box(0, 7, bbox=[i, 2, 30, 40]) for i in range(4)]
    [row] = read([image(7)], [*boxes, boxes[0], box(0, 7, category_id=2)])
    assert [(o["label"], o["x"]) for o in row["objects"]] == [
        *(("Table Tennis", i) for i in range(4)),
        ("bow (weapon)", 1),
    ]
    assert len({o["object_id"] for o in row["objects"]}) == 5
    assert dropped([row]) == {"object_duplicate": 1}


BOXES = [
    [1, 2, 30, 40],
    ["1", "2.0", " 30", "4e1"],
    "[1, 2, 30, 40]",
    "1,2,30,40",
    "1 2 30 40",
    {"x": 1, "y": 2, "width": 30, "height": 40},
    {"X": "1", "Y": "2", "W": "30", "H": "40"},
    {"left": 1, "top": 2, "width": 30, "height": 40},
    {"xmin": 1, "ymin": 2, "xmax": 31, "ymax": 42},
    {"x1": 1, "y1": 2, "x2": 31, "y2": 42},
]


@pytest.mark.parametrize("given", BOXES, ids=str)
def test_boxes_as_tools_write_them(read, given):
    [row] = read([image(7, width="640", height="480")], [box("0", "7", bbox=given, category_id="1")])
    assert [[o[side] for side in "xywh"] for o in row["objects"]] == [[1, 2, 30, 40]]
    assert (row["width"], row["height"], row["drops"]) == (640, 480, [])


NO_BOXES = ["", "1,2,3", "[a, 2, 3, 4]", {"x": 1}, {"x": 1, "y": 2, "w": 3}, {}, True, 7, [[1]] * 4]


@pytest.mark.parametrize("given", NO_BOXES, ids=str)
def test_boxes_that_are_none(read, dropped, given):
    assert dropped(read([image(7)], [box(1, 7, bbox=given)])) == {"object_bad_box": 1}


@pytest.mark.parametrize(("flag", "crowd"), [("0", False), ("false", False), (False, False), ("", False), ("1", True)])
def test_crowd_flags_as_text(read, flag, crowd):
    [row] = read([image(7)], [box(1, 7, iscrowd=flag)])
    assert bool(row["objects"]) is not crowd


def test_an_empty_list_of_annotations_is_one(read, write, tmp_path):
    assert [(row["keep"], row["objects"]) for row in read([image(7), image(8)], [])] == [(True, [])] * 2
    write("b.json", {"images": [image(7)], "categories": CATEGORIES})
    with pytest.raises(InputError, match="has no 'annotations' list"):
        list(read_source(SourceSettings(name="det", path=str(tmp_path), annotations="b.json")))


@pytest.mark.parametrize("field", ["coco_url", "url"])
def test_an_address_for_a_name(read, tmp_path, field):
    (tmp_path / "images/a b.jpg").touch()
    record = image(7, **{field: "http://images.cocodataset.org/train2017/a%20b.jpg?x=1"})
    del record["file_name"]
    [row] = read([record], [box(1, 7)])
    assert row["image_path"] == str(tmp_path / "images/a b.jpg")


def photo(path, turned=False):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6 if turned else 1
    Image.linear_gradient("L").resize((40, 20)).save(path, exif=exif)


def test_sizes_that_the_record_lacks_are_the_pictures_own(read, tmp_path):
    photo(tmp_path / "7.jpg")
    (tmp_path / "images").rmdir()
    (tmp_path / "images").symlink_to(tmp_path)
    records = [{"id": 7, "file_name": "7.jpg"}, {"id": 8, "file_name": "8.jpg"}]
    found, missing = read(records, [box(1, 7)])
    assert (found["width"], found["height"], found["keep"]) == (40, 20, True)
    assert (missing["reason"], missing["keep"]) == ("image_missing", False)
    assert "no usable width and height" in missing["detail"]


@pytest.mark.parametrize("upright", [False, True])
def test_photos_that_their_tag_turns(read, tmp_path, upright):
    photo(tmp_path / "images/7.jpg", turned=True)
    size = (20, 40) if upright else (40, 20)
    records = [image(7, width=size[0], height=size[1]), {"id": 7, "file_name": "7.jpg"}]
    rows = read(records, [box(1, 7)], upright=upright)
    pixels = read_image(rows[0]["image_path"])
    assert (rows[1]["width"], rows[1]["height"]) == pixels.size == size
    stored = Image.open(tmp_path / "images/7.jpg")
    expected = ImageOps.exif_transpose(stored) if upright else stored
    assert pixels.tobytes() == expected.convert("RGB").tobytes()
    assert read_bytes(rows[0]["image_path"]) == (tmp_path / "images/7.jpg").read_bytes()
