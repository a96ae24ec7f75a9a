import pytest

from mmgic.errors import InputError
from mmgic.settings import SourceSettings
from mmgic.sources.formats import read_source
from mmgic.sources.rows import image_part, text_part


def question(question_id, image_id, text="Is it?"):
    return {"question_id": question_id, "image_id": image_id, "question": text}


def answer(question_id, text):
    return {"question_id": question_id, "multiple_choice_answer": text, "answers": [{"answer": "no", "answer_id": 1}]}


@pytest.fixture
def read(write, tmp_path):
    def read_files(questions, annotations, split="train2014", name="questions.json"):
        write(name, {"questions": questions, **({"data_subtype": split} if split else {})})
        write("answers.json", {"annotations": annotations})
        source = SourceSettings(
            name="vqa", format="vqav2", path=str(tmp_path), annotations=name, answers="answers.json"
        )
        return list(read_source(source))

    return read_files


def test_questions_are_gathered_by_image_with_their_answers(read, tmp_path):
    rows = read(
        [question(93, 9, " Is it\nred? "), question(70, 7, "What?"), question(91, "9", "Why?")],
        [answer(70, "cat"), answer(91, "because "), answer(93, "yes")],
    )
    assert [(row["image_id"], row["task"], row["keep"]) for row in rows] == [
        ("9", "open_vqa", True),
        ("7", "open_vqa", True),
    ]
    assert rows[0]["rounds"] == [
        {"instruction": [image_part(0), text_part("Is it red?")], "response": [text_part("yes")]},
        {"instruction": [text_part("Why?")], "response": [text_part("because")]},
    ]
    [image] = rows[0]["images"]
    assert image["image_path"] == str(tmp_path / "images/COCO_train2014_000000000009.jpg")


def test_unanswered_questions_are_counted_and_images_without_any_answer_set_aside(read):
    rows = read(
        [question(1, 7), question(2, 7), question(3, 7, ""), question(4, 8), question(5, "x"), None],
        [answer(1, "yes"), answer(3, "no"), answer(5, "no"), {"question_id": 4}],
    )
    assert [(row["image_id"], row["reason"]) for row in rows] == [
        ("7", ""),
        ("8", "bad_record"),
        ("x", "bad_record"),
        ("", "bad_record"),
    ]
    assert rows[0]["rounds"] == [{"instruction": [image_part(0), text_part("Is it?")], "response": [text_part("yes")]}]
    assert [row["drops"] for row in rows[:2]] == [
        [{"reason": "question_unanswered", "count": 2}],
        [{"reason": "question_unanswered", "count": 1}],
    ]


def test_the_split_comes_from_the_file_or_its_name(read):
    [row] = read([question(1, 7)], [answer(1, "yes")], split=None, name="v2_OpenEnded_mscoco_val2014_questions.json")
    assert row["images"][0]["image_path"].endswith("COCO_val2014_000000000007.jpg")
    for split in (None, "../../etc"):
        with pytest.raises(InputError, match="does not say its split"):
            read([question(1, 7)], [answer(1, "yes")], split=split)


def test_swapped_files_are_refused(read):
    with pytest.raises(InputError, match="no 'questions' list; set 'annotations'"):
        read([], [answer(1, "yes")])
    with pytest.raises(InputError, match="no 'annotations' list; set 'answers'"):
        read([question(1, 7)], [])
