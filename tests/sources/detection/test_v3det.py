from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgic.settings import SourceSettings
from mmgic.sources.detection.v3det import v3det_descriptions, v3det_labels
from mmgic.sources.formats import read_source

MAN = {"id": 1, "name": "man", "cat_info": "An adult person who is male (as opposed to a woman)."}
PIECE = {"id": 2, "name": "man", "cat_info": ["Game equipment", "used in  playing board games."]}
DOG = {"id": 3, "name": "dog", "cat_info": "A pet.", "cat_info_gpt": "A loyal pet with four legs."}


def test_repeated_names_are_told_apart():
    assert v3det_labels([MAN, PIECE, DOG]) == {"1": "man (adult)", "2": "man (game)", "3": "dog"}
    # no word of its own: the id
    assert v3det_labels([MAN, {**MAN, "id": 9}]) == {"1": "man (1)", "9": "man (9)"}
    # a name that looks like a made one
    taken = v3det_labels([MAN, PIECE, {"id": 4, "name": "man (adult)"}])
    assert len(set(taken.values())) == 3


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "b (dog)"]), st.sampled_from(["", "dog", "cat dog", "cat"]))))
def test_labels_are_unique(entries):
    records = [{"id": i, "name": name, "cat_info": info} for i, (name, info) in enumerate(entries)]
    labels = v3det_labels(records)
    assert len(labels) == len(set(labels.values())) == len(entries)
    for record in records:
        assert labels[str(record["id"])].startswith(record["name"])


@pytest.fixture
def source(tmp_path: Path):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "images/n01").mkdir(parents=True)
    (tmp_path / "images/n01/x.jpg").write_bytes(b"")
    for split, category in (("train", 1), ("val", [2, 3])):
        content = {
            "images": [{"id": 1, "file_name": "images/n01/x.jpg", "width": 300, "height": 200}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": category, "bbox": [1, 2, 3, 4]}],
            "categories": [MAN, PIECE, DOG],
        }
        (tmp_path / f"annotations/v3det_2023_v1_{split}.json").write_text(json.dumps(content))
    (tmp_path / "annotations/v3det_2023_v1_category_tree.json").write_text("{}")
    return SourceSettings(name="v3det", format="v3det", path=str(tmp_path))


def test_train_and_validation_in_one_source(source):
    rows = list(read_source(source))
    assert [row["image_id"] for row in rows] == ["v3det_2023_v1_train/1", "v3det_2023_v1_val/1"]
    assert [[o["label"] for o in row["objects"]] for row in rows] == [["man (adult)"], ["man (game)", "dog"]]
    assert all(Path(row["image_path"].removeprefix("file://")).is_file() for row in rows)


def test_descriptions_belong_to_the_labels(source):
    rows = list(v3det_descriptions(source))
    assert rows == [
        {"source": "v3det", "kind": "object", "label": "man (adult)", "description": MAN["cat_info"]},
        {
            "source": "v3det",
            "kind": "object",
            "label": "man (game)",
            "description": "Game equipment used in playing board games.",
        },
        {"source": "v3det", "kind": "object", "label": "dog", "description": "A pet."},
    ]
    changed = SourceSettings(**{**vars(source), "description_field": "cat_info_gpt"})
    assert [row["description"] for row in v3det_descriptions(changed)] == ["A loyal pet with four legs."]


def test_the_real_categories(shared):
    records = json.loads((shared / "data/v3det/v3det_2023_v1_train_cat_info.json").read_text())
    labels = v3det_labels(records)
    assert len(labels) == len(set(labels.values())) == 13_204
    repeated = {name for name, count in Counter(r["name"] for r in records).items() if count > 1}
    assert len(repeated) == 36
    assert sum("(" in labels[str(r["id"])] for r in records if r["name"] in repeated) == 74
    assert {labels["605"], labels["13054"]} == {"cricket (bat-and-ball)", "cricket (leaping)"}
    assert not any(label.endswith(f"({r['id']})") for r in records if (label := labels[str(r["id"])]))
