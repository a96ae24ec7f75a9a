import json
import shutil

import pyarrow as pa
import pytest

from mmgic.errors import InputError
from mmgic.schema import ANNOTATED_IMAGE
from mmgic.settings import SourceSettings
from mmgic.sources.formats import read_source

URL = "https://cs.stanford.edu/people/rak248/VG_100K_2"


def image(image_id, **fields):
    record = {"image_id": image_id, "url": f"{URL}/{image_id}.jpg", "width": 800, "height": 600}
    return {**record, "coco_id": None, "flickr_id": None, **fields}


def thing(object_id, name, synset=None, merged=(), **fields):
    synsets = [synset] if synset else []
    box = {"x": 1, "y": 2, "w": 30, "h": 40}
    return {
        "object_id": object_id,
        "names": [name],
        "synsets": synsets,
        "merged_object_ids": [*merged],
        **box,
        **fields,
    }


def endpoint(object_id, name="x"):
    return {"object_id": object_id, "name": name, "x": 0, "y": 0, "w": 9, "h": 9, "synsets": []}


@pytest.fixture
def read(write, tmp_path):
    def read_tables(image_data, objects=(), attributes=(), relationships=(), **source):
        """Tables of one image (the first of `image_data`), or whole tables where they are lists of records by image."""
        first = image_data[0].get("image_id", image_data[0].get("id"))
        tables = {"objects": objects, "attributes": attributes, "relationships": relationships}
        for name, items in tables.items():
            by_image = items and name in items[0] and "object_id" not in items[0]
            whole = items if by_image else [{"image_id": first, name: items}]
            write(f"{name}.json", whole)
        write("image_data.json", image_data)
        settings = SourceSettings(name="vg", format="visual_genome", path=str(tmp_path), **source)
        return list(read_source(settings))

    return read_tables


def test_labels_are_normalised_and_the_first_name_counts(read):
    [row] = read(
        [image(1)],
        [thing(5, "  Traffic \n LIGHT", "traffic_light.n.01", names=["  Traffic \n LIGHT", "signal"])],
        [{"object_id": 5, "attributes": [" Off ", "Bright  RED", "", None]}],
        [{"predicate": "ON ", "subject": endpoint(5), "object": endpoint(5)}],
    )
    assert row["objects"] == [
        {
            "object_id": "5",
            "label": "traffic light",
            "synset": "traffic_light.n.01",
            "x": 1.0,
            "y": 2.0,
            "w": 30.0,
            "h": 40.0,
        }
    ]
    assert [a["label"] for a in row["attributes"]] == ["off", "bright red", "", ""]
    assert row["relationships"] == [{"subject_id": "5", "label": "on", "object_id": "5"}]
    assert pa.Table.from_pylist([row], schema=ANNOTATED_IMAGE).to_pylist() == [row]


def test_several_synsets_are_kept_for_cleaning_to_see(read):
    [row] = read(
        [image(1)], [thing(5, "bat", synsets=["bat.n.01", "bat.n.05"]), thing(6, "bat", synsets=["bat.n.01"] * 2)]
    )
    assert [o["synset"] for o in row["objects"]] == ["bat.n.01 bat.n.05", "bat.n.01"]


@pytest.mark.parametrize(("attach", "owners"), [(True, ["10", "10", "20"]), (False, ["10", "20"])])
def test_tables_are_joined_by_id_through_merged_ids(read, dropped, attach, owners):
    rows = read(
        [image(1)],
        [thing(10, "sidewalk", merged=[11, 20]), thing(20, "man")],  # 20 is there itself: it is not taken for 10
        [
            {"object_id": 10, "attributes": ["grey"], "x": 700, "names": ["wall"]},
            {"object_id": 11, "attributes": ["wet"]},
            {"object_id": 20, "attributes": ["tall"]},
            {"object_id": 20},
            {"object_id": 99, "attributes": ["red", "big"]},
        ],
        [
            {"predicate": "on", "subject": endpoint(20), "object": endpoint(11)},
            {"predicate": "on", "subject": endpoint(20), "object": {"object_id": 10, "names": ["sidewalk"], "x": 3}},
            {"predicate": "on", "subject": endpoint(99), "object": endpoint(10)},
            {"predicate": "on", "subject": endpoint(20), "object": None},
        ],
        attach_merged_attributes=attach,
    )
    [row] = rows
    assert [a["object_id"] for a in row["attributes"]] == owners
    assert [(r["subject_id"], r["object_id"]) for r in row["relationships"]] == [("20", "10"), ("20", "10")]
    assert dropped(rows) == {
        "attribute_object_removed": 2 if attach else 3,
        "relationship_object_removed": 2,
    }


def test_unusable_objects_are_counted(read, dropped):
    good = thing(5, "cat")
    no_width = {key: value for key, value in thing(6, "cat").items() if key != "w"}
    rows = read([image(1)], [good, thing(5, "dog"), no_width, thing(7, "  "), thing(8, "cat", names=[]), None])
    assert [(o["object_id"], o["label"]) for o in rows[0]["objects"]] == [("5", "cat"), ("5#1", "dog")]
    assert dropped(rows) == {"object_bad_box": 2, "object_no_name": 2}


def test_version_1_0_keys(read):
    [row] = read(
        [{"id": 1, "url": f"{URL}/1.jpg", "width": 800, "height": 600}],
        [{"id": 1, "objects": [{"id": 5, "names": ["clock"], "x": 1, "y": 2, "w": 3, "h": 4}]}],
        [{"id": 1, "attributes": [{"id": 5, "object_names": ["clock"], "attributes": ["green"]}]}],
        [{"id": 1, "relationships": [{"id": 3, "predicate": "on", "subject": {"id": 5}, "object": {"id": 5}}]}],
    )
    assert row["image_id"] == "1"
    assert row["objects"][0] | {"label": "clock", "synset": ""} == row["objects"][0]
    assert row["attributes"] == [{"object_id": "5", "label": "green"}]
    assert row["relationships"] == [{"subject_id": "5", "label": "on", "object_id": "5"}]


def test_every_image_record_gives_one_row_and_unknown_images_one_each(read):
    objects = [{"image_id": 1, "objects": [thing(5, "cat")]}, {"image_id": 7, "objects": []}, None]
    attributes = [{"image_id": 7, "attributes": []}]
    bad = [{"url": URL}, image(2, url="nowhere"), image(3, url=f"{URL}/../../passwd/.."), image(4, width=0), image(1)]
    rows = read([image(1), *bad], objects, attributes)
    assert [(row["image_id"], row["reason"]) for row in rows] == [
        ("1", ""),
        ("#2", "bad_record"),
        ("2", "bad_record"),
        ("3", "bad_record"),
        ("4", "bad_record"),
        ("1", "duplicate_id"),
        ("", "bad_record"),
        ("7", "bad_record"),
    ]
    assert "2 records" in rows[-1]["detail"]


@pytest.mark.parametrize("on_disk", ["images/VG_100K_2/1.jpg", "VG_100K_2/1.jpg", "images/1.jpg"])
def test_the_image_folder_comes_from_the_url(read, tmp_path, on_disk):
    path = tmp_path / on_disk
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    [row] = read([image(1)])
    assert row["image_path"] == str(path)


def test_images_of_the_benchmarks_are_set_aside_with_their_annotations(read, write, tmp_path):
    splits = {11: "train", 12: "restval", 13: "val", 14: "test"}
    write("karpathy.json", {"dataset": "coco", "images": [{"cocoid": i, "split": s} for i, s in splits.items()]})
    (tmp_path / "flickr").mkdir()
    (tmp_path / "flickr/train.txt").write_text("501\n502")
    (tmp_path / "flickr/test.txt").write_text("503.jpg\n")
    ids = [
        (11, None),
        (12, None),
        (13, 501),
        (14, None),
        (15, 503),
        (None, 502),
        (None, 503),
        (None, 504),
        (None, None),
    ]
    records = [image(i, coco_id=coco, flickr_id=flickr) for i, (coco, flickr) in enumerate(ids, start=1)]
    objects = [{"image_id": i, "objects": [thing(5, "cat")]} for i in range(1, 10)]
    rows = read(records, objects, karpathy=str(tmp_path / "karpathy.json"), flickr30k=str(tmp_path / "flickr"))
    assert [row["reason"] for row in rows] == [
        "",
        "validation_split",
        "validation_split",
        "heldout_split",
        "",  # COCO images outside Karpathy's split train, whatever their Flickr id
        "heldout_split",
        "heldout_split",
        "",
        "",
    ]
    assert all(row["objects"] for row in rows)
    files = {"karpathy": str(tmp_path / "karpathy.json"), "flickr30k": str(tmp_path / "flickr")}
    trained = read(records, objects, **files, keep_validation=True)
    assert [row["reason"] for row in trained] == [row["reason"].replace("validation_split", "") for row in rows]


def test_wrong_files_are_refused(read, write, tmp_path):
    read([image(1)])
    source = SourceSettings(format="visual_genome", path=str(tmp_path))
    (tmp_path / "attributes.json").unlink()
    with pytest.raises(InputError, match=r"no file .*attributes\.json"):
        list(read_source(source))
    write("attributes.json", {"attributes": []})
    with pytest.raises(InputError, match=r"attributes\.json is not Visual Genome's"):
        list(read_source(source))
    with pytest.raises(InputError, match="lists no images with a 'cocoid'"):
        read([image(1)], karpathy=str(write("flickr.json", {"images": [{"filename": "1.jpg", "split": "test"}]})))
    with pytest.raises(InputError, match="no lists of Flickr photo ids"):
        read([image(1)], flickr30k=str(tmp_path))
    (tmp_path / "images").rmdir()
    with pytest.raises(InputError, match=r"image folder .* does not exist"):
        read([image(1)])


def real(shared, tmp_path, objects, others):
    (tmp_path / "images").mkdir()
    tables = shared / "data/visual_genome"
    shutil.copy(tables / objects / "objects.json", tmp_path)
    for table in ("image_data", "attributes", "relationships"):
        shutil.copy(tables / others / f"{table}.json", tmp_path)
    return list(read_source(SourceSettings(name="vg", format="visual_genome", path=str(tmp_path))))


def test_the_real_versions_1_4_and_1_2_joined(shared, tmp_path, dropped):
    rows = real(shared, tmp_path, "v1.4.0", "v1.2.0")
    assert len(rows) == 5
    # images 1 and 2; the sample holds no v1.4 objects of the others
    assert [len(row["objects"]) for row in rows] == [31, 25, 0, 0, 0]
    assert [len(row["relationships"]) for row in rows] == [19, 23, 0, 0, 0]
    assert dropped(rows[:1]) == {"relationship_object_removed": 22}
    assert dropped(rows[1:2]) == {"attribute_object_removed": 1}
    for row, name in zip(rows, ("1.jpg", "2.jpg"), strict=False):
        assert row["image_path"].endswith(f"VG_100K/{name}") or row["image_path"].endswith(f"VG_100K_2/{name}")
        ids = {o["object_id"] for o in row["objects"]}
        assert {a["object_id"] for a in row["attributes"]} <= ids


def test_the_real_version_1_2(shared, tmp_path):
    rows = real(shared, tmp_path, "v1.2.0", "v1.2.0")
    tables = {n: json.loads((tmp_path / f"{n}.json").read_text()) for n in ("objects", "attributes", "relationships")}
    for column, table in tables.items():
        if column == "attributes":
            expected = [sum(len(o.get("attributes", [])) for o in record["attributes"]) for record in table]
        else:
            expected = [len(record[column]) for record in table]
        assert [len(row[column]) for row in rows] == expected
    assert not any(row["drops"] for row in rows)


def test_the_real_version_1_0(shared, tmp_path):
    rows = real(shared, tmp_path, "v1.0.0", "v1.0.0")
    objects = json.loads((tmp_path / "objects.json").read_text())
    assert [len(row["objects"]) for row in rows] == [len(record["objects"]) for record in objects]
    assert all(row["keep"] and row["attributes"] and row["relationships"] for row in rows)


def test_the_real_split_files(shared, read):
    folder = shared / "data/karpathy_flickr30k"
    karpathy, flickr = folder / "dataset_coco_testing.json", folder / "flickr30k_test.txt"
    held_out = json.loads(karpathy.read_text())["images"][0]
    records = [
        image(1, coco_id=held_out["cocoid"]),
        image(2, flickr_id=int(flickr.read_text().split()[-1])),
        image(3, coco_id=1),
        image(4, flickr_id=1),
    ]
    rows = read(records, karpathy=str(karpathy), flickr30k=str(folder))
    assert [row["reason"] for row in rows] == ["heldout_split", "heldout_split", "", ""]


def test_an_id_that_comes_twice_with_another_box_is_no_duplicate(read, dropped):
    objects = [thing(5, "dog"), thing(5, "dog", x=9), thing(5, "cat"), thing(5, "dog"), thing(6, "hat", x="3", w="4")]
    [row] = read([image(1)], objects, [{"object_id": 5, "attributes": ["big"]}])
    assert [(o["label"], o["x"]) for o in row["objects"]] == [("dog", 1), ("dog", 9), ("cat", 1), ("hat", 3)]
    assert [a["object_id"] for a in row["attributes"]] == [row["objects"][0]["object_id"]]
    assert len({o["object_id"] for o in row["objects"]}) == 4
    assert dropped([row]) == {"object_duplicate": 1}
