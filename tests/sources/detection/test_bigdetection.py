from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.ops import box_convert, box_iou

from mmgic.errors import InputError
from mmgic.settings import SourceSettings
from mmgic.sources.detection.bigdetection import Pairing, iou
from mmgic.sources.detection.open_images_content import Content
from mmgic.sources.formats import read_source

HEADER = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax"
VRD = "ImageID,LabelName1,LabelName2,XMin1,XMax1,YMin1,YMax1,XMin2,XMax2,YMin2,YMax2,RelationshipLabel"


def thing(object_id, label, *box):
    return {"object_id": object_id, "label": label, "synset": "", **dict(zip("xywh", map(float, box), strict=True))}


side = st.floats(-50, 150, width=32)
extent = st.just(0.0) | st.floats(2**-10, 100, width=32)  # a thinner box is lost beside coordinates of 150
box = st.tuples(side, side, extent, extent)


@given(st.lists(box, min_size=1, max_size=6), st.lists(box, min_size=1, max_size=6))
def test_iou_is_torchvisions(first, second):
    corners = [box_convert(torch.tensor(boxes, dtype=torch.float64), "xywh", "xyxy") for boxes in (first, second)]
    expected = box_iou(*corners).nan_to_num(0.0).numpy()
    assert np.allclose(iou(np.array(first), np.array(second)), expected, atol=1e-9)


def test_pairs_by_the_largest_overlap_above_the_floor():
    # a man and a person share one region; the hat's box is a little off, the dog's much
    native = Content(
        [
            thing("0", "Man", 0, 0, 100, 200),
            thing("1", "Person", 0, 0, 100, 200),
            thing("2", "Hat", 200, 0, 50, 50),
            thing("3", "Dog", 300, 100, 100, 100),
        ],
        [
            {"object_id": "0", "label": "smile"},
            {"object_id": "3", "label": "run"},
            {"object_id": "2", "label": "plastic"},
        ],
        [
            {"subject_id": "1", "label": "wears", "object_id": "2"},
            {"subject_id": "0", "label": "holds", "object_id": "3"},
        ],
        ["object_duplicate", "attribute_object_removed"],
    )
    detected = [
        thing("a", "person", 0, 0, 100, 199),  # IoU 0.995 with the man
        thing("b", "man", 0, 0, 100, 195),  # 0.975
        thing("c", "hat", 201, 0, 50, 50),  # 0.96
        thing("d", "dog", 320, 100, 100, 100),  # 0.67
    ]
    pairing = Pairing(0.9)
    content = pairing.carry_over(native, detected, ["object_crowd"])
    assert content.objects == detected
    # each native object goes to the box of its own label where there is one
    assert content.attributes == [{"object_id": "b", "label": "smile"}, {"object_id": "c", "label": "plastic"}]
    assert content.relationships == [{"subject_id": "a", "label": "wears", "object_id": "c"}]
    assert sorted(content.drops) == [
        "attribute_object_removed",
        "attribute_unpaired",
        "object_crowd",
        "relationship_unpaired",
    ]
    assert dict(pairing.counts) == {0.99: 1, 0.95: 2, 0.5: 1}
    assert "4 BigDetection boxes" in pairing.summary()
    assert len(Pairing(0.5).carry_over(native, detected, []).relationships) == 2


@pytest.fixture
def folder(tmp_path: Path):
    def make(images, annotations):
        (tmp_path / "images").mkdir(exist_ok=True)
        lines = ["0a,x,/m/1,1,0.1,0.5,0.2,0.6", "0b,x,/m/1,1,0,1,0,1"]
        (tmp_path / "train-annotations-bbox.csv").write_text("\n".join([HEADER, *lines]))
        edges = ",".join(["0.1,0.5,0.2,0.6"] * 2)
        (tmp_path / "train-annotations-vrd.csv").write_text(f"{VRD}\n0a,/m/1,/m/9,{edges},is\n")
        (tmp_path / "class-descriptions-boxable.csv").write_text("/m/1,Bow\n")
        (tmp_path / "attributes-description.csv").write_text("/m/9,Wooden\n")
        categories = [{"id": 5, "name": "bow_(weapon)"}]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (tmp_path / "bigdet_oid_train.json").write_text(json.dumps(content))
        return SourceSettings(
            name="oi",
            format="open_images",
            path=str(tmp_path),
            annotations="bigdet_oid_train.json",
            image_names="[0-9a-f]{2}",
        )

    return make


def image(image_id, file_name, width=200, height=100):
    return {"id": image_id, "file_name": file_name, "width": width, "height": height}


def annotation(annotation_id, image_id, *box):
    return {"id": annotation_id, "image_id": image_id, "category_id": 5, "bbox": list(box)}


def test_images_join_by_the_stem_of_their_name(folder):
    images = [
        image(1, "train/OpenImages/0a.jpg"),
        image(2, "0c.jpg"),
        image(3, "0/0a.jpg"),  # the same image again
        image(4, "../../0d.jpg"),
        {"id": 6, "file_name": "0e.jpg"},
    ]
    boxes = [annotation(1, 1, 20, 20, 80, 40), annotation(2, 2, 0, 0, 9, 9), annotation(3, 3, 1, 1, 2, 2)]
    boxes += [annotation(4, 99, 0, 0, 1, 1), annotation(5, 99, 0, 0, 1, 1)]
    rows = list(read_source(folder(images, boxes)))
    found = {(row["image_id"], row["reason"]): row for row in rows}
    assert set(found) == {
        ("0a", ""),
        ("0a", "duplicate_id"),
        ("0b", "no_objects"),  # only Open Images knows it
        ("0c", ""),
        ("0e", "bad_record"),
        ("#4", "bad_record"),
        ("image 99", "bad_record"),
    }
    assert len(rows) == len(found) == len({row["row_id"] for row in rows})
    row = found["0a", ""]
    assert row["objects"] == [thing("1", "bow (weapon)", 20, 20, 80, 40)]
    assert row["attributes"] == [{"object_id": "1", "label": "wooden"}]
    assert (row["width"], row["height"]) == (200, 100)
    assert found["0c", ""]["objects"] == [thing("2", "bow (weapon)", 0, 0, 9, 9)]
    assert "2 annotations" in found["image 99", "bad_record"]["detail"]


def test_the_validation_file_is_read_too_but_for_other_datasets_images(folder):
    """Image and category ids are each file's own; an image without boxes of Open Images lies in its file's split."""
    source = folder([image(1, "train/OpenImages/0a.jpg")], [annotation(1, 1, 20, 20, 80, 40)])
    images = [
        image(1, "val/0c.jpg"),
        image(2, "val/objects365_v1_00000007.jpg"),
        image(3, "val/000000391895.jpg"),  # LVIS has it of COCO, where it is a test image
        image(4, "val/0a.jpg"),  # the training file has it
    ]
    boxes = [{**annotation(i, i, 10, 10, 20, 20), "category_id": 1} for i in range(1, 5)]
    boxes.append(annotation(9, 99, 0, 0, 1, 1))
    content = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "dog"}]}
    (Path(source.path) / "bigdet_val.json").write_text(json.dumps(content))
    (Path(source.path) / "validation").mkdir()
    (Path(source.path) / "validation" / "0c.jpg").touch()
    both = replace(source, annotations="bigdet_oid_train.json + bigdet_val.json")
    rows = list(read_source(both))
    assert len({row["row_id"] for row in rows}) == len(rows)
    assert Counter((row["image_id"], row["reason"]) for row in rows) == {
        ("0a", ""): 1,
        ("0a", "duplicate_id"): 1,
        ("0b", "no_objects"): 1,
        ("0c", ""): 1,
        ("objects365_v1_00000007", "other_dataset"): 1,
        ("000000391895", "other_dataset"): 1,
        ("bigdet_val/image 99", "bad_record"): 1,
    }
    labels = {row["image_id"]: [o["label"] for o in row["objects"]] for row in rows if row["keep"]}
    assert labels == {"0a": ["bow (weapon)"], "0c": ["dog"]}
    [validation] = [row for row in rows if row["image_id"] == "0c"]
    assert validation["image_path"] == f"{source.path}/validation/0c.jpg"

    (Path(source.path) / "bigdet_val.json").unlink()
    with pytest.raises(InputError, match=r"holds a part of .*, but no bigdet_val.json; put it there"):
        list(read_source(both))


def test_open_images_ids_have_16_hexadecimal_digits(folder):
    images = [image(1, "0123456789abcdef.jpg"), image(2, "000000391895.jpg")]
    source = replace(folder(images, [annotation(1, 1, 0, 0, 9, 9), annotation(2, 2, 0, 0, 9, 9)]), image_names="")
    rows = {row["image_id"]: row["reason"] for row in read_source(source)}
    assert (rows["0123456789abcdef"], rows["000000391895"]) == ("", "other_dataset")


def test_an_empty_file_is_refused(folder):
    with pytest.raises(InputError, match="no 'images' list"):
        list(read_source(folder([], [annotation(1, 1, 0, 0, 1, 1)])))
    source = folder([image(1, "0a.jpg")], [])
    with pytest.raises(InputError, match="no 'annotations' list"):
        list(read_source(source))


def test_without_the_file_native_boxes_are_used_and_the_run_says_so(folder, capsys):
    source = folder([image(1, "0a.jpg")], [annotation(1, 1, 0, 0, 1, 1)])
    (Path(source.path) / "bigdet_oid_train.json").unlink()
    (Path(source.path) / "train_sizes.csv").write_text("image_id,image_w,image_h\n0a,10,10\n0b,10,10\n")
    rows = list(read_source(source))
    assert [[o["label"] for o in row["objects"]] for row in rows] == [["Bow"], ["Bow"]]
    assert rows[0]["attributes"] == [{"object_id": "0", "label": "wooden"}]
    assert "there is no bigdet_oid_train.json; using Open Images' own boxes" in capsys.readouterr().out
