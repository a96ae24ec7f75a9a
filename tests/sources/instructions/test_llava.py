import json

import pytest

from mmgic.errors import InputError
from mmgic.settings import SourceSettings
from mmgic.sources.formats import read_source
from mmgic.sources.rows import image_part, text_part


def talk(*values):
    return [{"from": ("human", "gpt")[i % 2], "value": value} for i, value in enumerate(values)]


@pytest.fixture
def read(write, tmp_path):
    def read_file(records, name="llava.json", **settings):
        write(name, records)
        source = SourceSettings(name="s", format="llava", path=str(tmp_path), annotations=name, **settings)
        return list(read_source(source))

    return read_file


def test_rows_with_and_without_an_image(read, tmp_path):
    (tmp_path / "images/coco/train2017").mkdir(parents=True)
    (tmp_path / "images/coco/train2017/1.jpg").touch()
    records = [
        {"id": 5, "image": "coco/train2017/1.jpg", "conversations": talk("<image>\nWhat?", "A dog.", "Red?", "Yes.")},
        {"id": "w", "conversations": talk("What does <image> mean in HTML?", "An old tag.")},
    ]
    with_image, words = read(records)
    assert (with_image["task"], words["task"]) == ("image_conversation", "text_only")
    assert with_image["images"][0]["image_path"] == str(tmp_path / "images/coco/train2017/1.jpg")
    assert with_image["image_id"].startswith("5-")
    assert with_image["rounds"][0]["instruction"] == [image_part(0), text_part("What?")]
    assert words["images"] == []
    assert with_image["rounds"][1] == {"instruction": [text_part("Red?")], "response": [text_part("Yes.")]}


def test_a_bare_name_is_found_in_a_folder_that_the_source_names(read, tmp_path):
    (tmp_path / "train2017").mkdir()
    (tmp_path / "train2017/7.jpg").touch()
    [row] = read([{"id": "7", "image": "coco/train2017/7.jpg", "conversations": talk("a", "b")}], images="train2017")
    assert row["images"][0]["image_path"] == str(tmp_path / "train2017/7.jpg")


def test_one_id_may_have_several_conversations_but_not_one_twice(read):
    record = {"id": "1", "image": "coco/1.jpg", "conversations": talk("a", "b")}
    copy = {**record, "image": "train2017/1.jpg"}  # LLaVAR's copy of LLaVA's record, in another folder
    rows = read([record, {**record, "conversations": talk("a", "c")}, copy])
    assert [row["reason"] for row in rows] == ["", "", "duplicate_id"]
    assert len({row["row_id"] for row in rows}) == 3


def test_records_that_cannot_be_used_are_counted(read):
    rows = read(
        [
            {"id": "1", "image": "1.jpg"},
            None,
            {"id": "1", "image": "../../etc/passwd", "conversations": talk("a", "b")},
            {"id": "2", "image": {"no": 1}, "conversations": talk("a", "b")},
            {"id": "3", "image": "3.jpg", "conversations": talk("a", "b", "c", "")},
        ]
    )
    assert [row["reason"] for row in rows] == ["bad_record"] * 4 + [""]
    assert "../../etc/passwd" in rows[2]["detail"]
    assert rows[4]["drops"] == [{"reason": "round_malformed", "count": 1}]


def test_sharegpt4v_captions_are_detailed_captions(read):
    rows = read(
        [
            {
                "id": "1",
                "image": "1.jpg",
                "conversations": talk("What do you see happening in this image?\n<image>", "x"),
            },
            {"id": "2", "image": "2.jpg", "conversations": talk("<image>\nWhat could the man think?", "y")},
        ],
        name="sharegpt4v_instruct_gpt4-vision_cap100k.json",
    )
    assert [row["task"] for row in rows] == ["detailed_caption", "image_conversation"]
    assert rows[0]["rounds"] == [{"instruction": [image_part(0)], "response": [text_part("x")]}]


def test_another_file_is_refused(read):
    with pytest.raises(InputError, match=r"llava.json holds no records of the format 'llava'; .* set 'annotations'"):
        read({"data": []})


def test_unimm_chat_as_json(write, tmp_path):
    said = json.dumps(talk("<image >\nWhat?", "A dog."))
    write("UniMM-Chat-v0.json", [{"image": "1.jpg", "conversation": said}, {"image": "2.jpg", "conversation": "[{"}])
    first, second = read_source(SourceSettings(name="u", format="unimm_chat", path=str(tmp_path)))
    assert first["rounds"] == [{"instruction": [image_part(0), text_part("What?")], "response": [text_part("A dog.")]}]
    assert second["reason"] == "bad_record"
