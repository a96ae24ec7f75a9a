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


def test_parts_of_the_mixture_are_told_by_their_task(read):
    """As llava_v1_5_mix665k.json words them: only what Table 14 has stays."""
    short, letter = (
        "\nAnswer the question using a single word or phrase.",
        "\nAnswer with the option's letter from the given choices directly.",
    )
    sentence = "Provide a one-sentence caption for the provided image.\nReference OCR token: M, 0"
    sought = "Please provide the bounding box coordinate of the region this sentence describes: a man"
    talks = {
        "vqav2": ("coco/train2017/1.jpg", f"<image>\nIs it red?{short}", "Yes", f"Is it big?{short}", "No"),
        "ocrvqa": ("ocr_vqa/images/1.jpg", f"<image>\nWho wrote this?{short}", "A. Person"),
        "aokvqa": ("coco/train2017/2.jpg", f"<image>\nWhat is it?\nA. a dog\nB. a cat{letter}", "B"),
        "textcaps": ("textvqa/train_images/1.jpg", f"<image>\n{sentence}", "A sign."),
        "sharegpt": (None, "Hi", "Hello"),
        "llava": ("coco/train2017/3.jpg", "<image>\nWhat is happening?", "A man walks."),
        "refcoco": ("coco/train2017/4.jpg", f"<image>\n{sought}", "[0.1, 0.2, 0.3, 0.4]"),
        "vg": ("vg/VG_100K/1.jpg", "<image>\nPlease provide a short description for this region: [0, 0, 1, 1].", "A."),
    }
    records = [
        {"id": name, **({"image": image} if image else {}), "conversations": talk(*said)}
        for name, (image, *said) in talks.items()
    ]
    tasks = ("open_vqa", "multiple_choice", "image_caption", "text_only")
    rows = {row["image_id"].partition("-")[0]: row for row in read(records, tasks=tasks)}
    assert {name for name, row in rows.items() if row["reason"] == "other_task"} == {"llava", "refcoco", "vg"}
    assert [rows[name]["task"] for name in list(talks)[:5]] == ["open_vqa", *tasks]
    assert all(row["keep"] for row in read(records))
    with pytest.raises(InputError, match="'vqa' is no task; 'tasks' takes some of image_conversation, open_vqa"):
        read(records, tasks=("vqa",))


def test_tasks_are_of_instructions_alone(write, tmp_path):
    write("a.json", {"images": [], "annotations": [], "categories": []})
    source = SourceSettings(name="s", path=str(tmp_path), annotations="a.json", tasks=("open_vqa",))
    with pytest.raises(InputError, match="the format 'coco' has no tasks"):
        list(read_source(source))


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


def test_images_in_a_list_of_another_name(read, tmp_path):
    talked = talk("<image>\n<image>\nWhat differs?", "The hat.")
    one, two = (str(tmp_path / f"images/{i}.jpg") for i in (1, 2))
    records = [
        {"images": ["1.jpg", "2.jpg"], "conversations": talked},
        {"images": "1.jpg", "conversations": talk("Q", "A")},
    ]
    rows = read(records)
    assert [[image["image_path"] for image in row["images"]] for row in rows] == [[one, two], [one]]
    assert rows[0]["rounds"][0]["instruction"] == [image_part(0), image_part(1), text_part("What differs?")]


@pytest.mark.parametrize("record", [{}, {"image": None}, {"images": []}, {"video": "a.mp4"}, {"image": ""}])
def test_a_blind_question_is_no_text(read, record):
    for mark in ("<image>", "<video>"):
        [row] = read([{**record, "conversations": talk(f"{mark}\nWhat is it?", "A dog.")}])
        assert (row["keep"], row["reason"], row["rounds"]) == (False, "bad_record", [])
        assert "llava.json#1: it " in row["detail"]
