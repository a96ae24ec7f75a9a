from collections import Counter

import pytest

from mmgic.errors import InputError
from mmgic.settings import SourceSettings
from mmgic.sources.formats import read_source
from mmgic.sources.rows import image_part, text_part


@pytest.fixture
def read(write, tmp_path):
    def read_files(kind, files, **settings):
        for name, content in files.items():
            write(name, content)
        return list(read_source(SourceSettings(name="s", format=kind, path=str(tmp_path), **settings)))

    return read_files


def asked(row):
    return [(one["instruction"][-1]["text"], one["response"][0]["text"]) for one in row["rounds"]]


def test_okvqa_takes_the_answer_that_most_people_gave(read, tmp_path):
    answers = [{"answer": "surf", "raw_answer": "surfing"}] * 3 + [{"answer": "swim", "raw_answer": "swimming"}] * 4
    files = {
        "OpenEnded_mscoco_train2014_questions.json": {
            "questions": [{"image_id": 7, "question_id": 1, "question": "What sport?"}]
        },
        "mscoco_train2014_annotations.json": {"annotations": [{"question_id": 1, "answers": answers}]},
    }
    [row] = read("okvqa", files)
    assert asked(row) == [("What sport?", "swimming")]
    assert row["images"][0]["image_path"] == str(tmp_path / "images/COCO_train2014_000000000007.jpg")


def test_gqa_questions_are_gathered_by_image(read):
    questions = {
        "1": {"question": "Is it red?", "imageId": "9", "answer": "no"},
        "2": {"question": "What?", "imageId": 7, "answer": "dog"},
        "3": {"question": "Where?", "imageId": "9", "answer": "left"},
        "4": {"question": "Why?", "imageId": "9"},
        "5": {"question": "a", "imageId": "../x", "answer": "b"},
        "6": None,
    }
    rows = read("gqa", {"train_balanced_questions.json": questions})
    assert [(row["image_id"], row["reason"]) for row in rows] == [
        ("9", ""),
        ("7", ""),
        ("../x", "bad_record"),
        ("", "bad_record"),
    ]
    assert asked(rows[0]) == [("Is it red?", "no"), ("Where?", "left")]
    assert rows[0]["drops"] == [{"reason": "question_unanswered", "count": 1}]
    assert [part["image"] for one in rows[0]["rounds"] for part in one["instruction"]] == [0, -1, -1]


def test_ocrvqa_keeps_its_training_split(read, tmp_path):
    (tmp_path / "images").mkdir(exist_ok=True)

    def book(split, **fields):
        return {"imageURL": "http://x/1.jpg", "questions": ["Who?"], "answers": ["I"], "split": split, **fields}

    (tmp_path / "images/b.png").touch()
    books = {"a": book(1), "b": book(1), "c": book(2), "d": book(3), "e": book(1, answers=[]), "f": book(1, imageURL=0)}
    rows = read("ocrvqa", {"dataset.json": books})
    assert [row["reason"] for row in rows] == ["", "", "validation_split", "heldout_split", "bad_record", "bad_record"]
    assert [(row["images"][0]["url"], row["images"][0]["image_path"]) for row in rows[:2]] == [
        ("http://x/1.jpg", ""),
        ("http://x/1.jpg", str(tmp_path / "images/b.png")),
    ]


def test_aokvqa_choices_are_lettered(read, tmp_path):
    (tmp_path / "images/train2017").mkdir(parents=True)
    (tmp_path / "images/train2017/000000000007.jpg").touch()
    record = {"split": "train", "image_id": 7, "question": "What?", "choices": ["cat", "dog"], "correct_choice_idx": 1}
    records = [record, {**record, "image_id": 8, "correct_choice_idx": 4}, {**record, "split": "test", "image_id": 9}]
    first, second, third = read("aokvqa", {"aokvqa_v1p0_train.json": records})
    assert first["task"] == "multiple_choice"
    assert asked(first) == [("What?\nA. cat\nB. dog", "B")]
    assert first["images"][0]["image_path"] == str(tmp_path / "images/train2017/000000000007.jpg")
    assert (second["reason"], third["reason"]) == ("bad_record", "heldout_split")


def test_aokvqa_choices_in_several_orders_are_a_record_each(read):
    four = {"question": "What?", "choices": ["cat", "dog", "cow", "bus"], "correct_choice_idx": 1}
    records = [
        {"split": "train", "image_id": 7, **four},
        {"split": "train", "image_id": 7, "question": "Who?", "choices": ["a", "b"], "correct_choice_idx": 0},
    ]
    rows = read("aokvqa", {"aokvqa_v1p0_train.json": records}, choice_orders=4)
    assert [row["image_id"] for row in rows] == ["train/7", "train/7/1", "train/7/2", "train/7/3"]
    assert len({row["row_id"] for row in rows}) == 4
    assert asked(rows[1]) == [("What?\nA. dog\nB. cow\nC. bus\nD. cat", "A"), ("Who?\nA. b\nB. a", "B")]
    for row in rows:
        right = [dict(line.split(". ") for line in question.split("\n")[1:])[letter] for question, letter in asked(row)]
        assert right == ["dog", "a"]


def test_textcaps_take_one_caption_of_an_image(read):
    records = [
        {"image_id": "a", "caption_str": "", "flickr_original_url": "https://f/a.jpg"},
        {"image_id": "b", "caption_str": "A bus.", "flickr_original_url": "not a url"},
        {"image_id": "a", "caption_str": "A  sign.", "flickr_original_url": "https://f/a.jpg"},
        {"image_id": "a", "caption_str": "Another sign.", "flickr_original_url": "https://f/a.jpg"},
        {"image_id": "c", "flickr_original_url": "https://f/c.jpg"},
    ]
    rows = read("textcaps", {"TextCaps_0.1_train.json": {"data": records}})
    assert Counter(row["reason"] for row in rows) == {"": 1, "bad_record": 1, "no_caption": 1}
    assert rows[0]["rounds"] == [{"instruction": [image_part(0)], "response": [text_part("A sign.")]}]
    assert rows[0]["images"] == [{"url": "https://f/a.jpg", "image_path": "", "codes": []}]


def test_files_of_another_form_are_refused(read):
    for kind, name in (("gqa", "train_balanced_questions.json"), ("aokvqa", "aokvqa_v1p0_train.json")):
        with pytest.raises(InputError, match="is no JSON"):
            read(kind, {name: {} if kind == "gqa" else []})
