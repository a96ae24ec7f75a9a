import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgic.sources.instructions.conversations import missing_media, read_turns, to_rounds, with_task
from mmgic.sources.rows import image_part, text_part

SHORT = "Answer the question using a single word or phrase."
LETTER = "Answer with the option's letter from the given choices directly."


def spoken(*turns):
    return [{"from": speaker, "value": text} for speaker, text in turns]


@pytest.mark.parametrize(
    ("turns", "pairs", "dropped"),
    [
        ([("human", "a"), ("gpt", "b"), ("human", "c"), ("gpt", "d")], [("a", "b"), ("c", "d")], 0),
        ([("gpt", "x"), ("human", "a"), ("gpt", "b")], [("a", "b")], 1),
        ([("human", "a"), ("human", "b"), ("gpt", "c"), ("gpt", "d")], [("a\n\nb", "c\n\nd")], 0),
        ([("system", "s"), ("user", "a"), ("assistant", "b"), ("human", "c")], [("a", "b")], 1),
        ([("human", " <image> "), ("gpt", "b"), ("human", "c"), ("gpt", " ")], [], 2),
        ([], [], 0),
    ],
)
def test_turns_become_rounds(turns, pairs, dropped):
    assert read_turns(spoken(*turns)) == (pairs, ["round_malformed"] * dropped)


@pytest.mark.parametrize("damaged", [None, "text", 7, [None, "x", {"from": 1, "value": 2}, {"from": "human"}]])
def test_damaged_conversations_have_no_rounds(damaged):
    assert read_turns(damaged) == ([], [])


def test_a_format_prompt_names_the_task_and_goes():
    asked = [(f"<image>\nA dog?\n{SHORT}", "Yes"), ("Red?", "No")]
    assert with_task(asked) == ("open_vqa", [("<image>\nA dog?", "Yes"), ("Red?", "No")])
    every = [(f"<image>\nA dog?\n{SHORT}", "Yes"), (f"Red?\n{SHORT}", "No")]
    assert with_task(every) == ("open_vqa", [("<image>\nA dog?", "Yes"), ("Red?", "No")])
    last = [(f"A dog?\n{SHORT}\n<image>", "Yes")]
    assert with_task(last) == ("open_vqa", [("A dog?\n<image>", "Yes")])
    letters = [(f"<image>\nWhich?\nA. x\nB. y\n{LETTER.replace(chr(39), '’')}", "B")]
    assert with_task(letters) == ("multiple_choice", [("<image>\nWhich?\nA. x\nB. y", "B")])


def test_textcaps_lose_their_ocr_line_and_prompt():
    asked = [("<image>\nProvide a one-sentence caption for the provided image.\nReference OCR token: A, B", "A dog.")]
    assert with_task(asked) == ("image_caption", [("<image>", "A dog.")])


def test_rounds_of_several_formats_stay_as_they_are():
    asked = [(f"A dog?\n{SHORT}", "Yes"), (f"Which?\nA. x\n{LETTER}", "A")]
    assert with_task(asked) == ("image_conversation", asked)
    assert with_task([("Why?", "So."), (f"A dog?\n{SHORT}", "Yes")])[0] == "image_conversation"


def test_images_stand_where_their_marks_are():
    assert to_rounds([("<image>\nQ", "A")], 1) == [([image_part(0), text_part("Q")], [text_part("A")])]
    assert to_rounds([("Q\n<image >", "A")], 1) == [([text_part("Q"), image_part(0)], [text_part("A")])]
    assert to_rounds([("Q", "A"), ("R", "B")], 1)[0][0] == [image_part(0), text_part("Q")]
    assert to_rounds([("See <image> or <image>?", "A")], 2)[0][0] == [
        *(text_part("See"), image_part(0), text_part("or"), image_part(1), text_part("?"))
    ]
    # an image without a mark comes first, and is the record's first
    assert to_rounds([("Q <image>", "A")], 2)[0][0] == [image_part(0), text_part("Q"), image_part(1)]


@given(
    turns=st.lists(st.tuples(st.text("ab<image>\n ", max_size=30), st.text("ab", min_size=1, max_size=5)), min_size=1),
    images=st.integers(0, 4),
)
def test_every_image_has_one_place(turns, images):
    parts = [part for asked, said in to_rounds(turns, images) for part in (*asked, *said)]
    assert [part["image"] for part in parts if part["image"] >= 0] == list(range(images))
    left = sum(part["text"].count("<image>") for part in parts)
    assert left == max(0, sum(asked.count("<image>") for asked, _ in turns) - images)


def test_a_literal_mark_stays():
    tag = "What does <image> mean in SVG?"
    assert to_rounds([(tag, "<image> draws.")], 0) == [([text_part(tag)], [text_part("<image> draws.")])]
    assert to_rounds([(f"{tag}\n<image>", "A")], 1)[0][0] == [text_part(tag), image_part(0)]
    assert to_rounds([("Q", "A"), (f"<image>\n{tag}", "A")], 1)[1][0] == [image_part(0), text_part(tag)]


@pytest.mark.parametrize(
    ("asked", "images", "missing"),
    [
        (["<image>\nWhat is it?"], 0, "1 marks of images and 0 images"),
        (["What is it?\n<image>"], 0, "1 marks"),
        (["What is it? <image>"], 0, "1 marks"),
        (["Hi", "<Image>What is it?"], 0, "1 marks"),
        (["<image>\n<image>\nWhat differs?"], 1, "2 marks of images and 1 images"),
        (["<video>\nWhat happens?"], 0, "a video"),
        (["<audio>\nWho speaks?"], 1, "an audio recording"),
        (["<image>\nWhat is it?"], 1, ""),
        (["What does <image> mean in SVG?"], 0, ""),
        (["Fix this:\n<image>\n<url>a.png</url>\n</image>"], 0, ""),
        (["docker run <image> --rm"], 0, ""),
    ],
)
def test_a_question_about_what_is_not_there_is_found(asked, images, missing):
    found = missing_media([(question, "A") for question in asked], images)
    assert missing in found
    assert bool(missing) == bool(found)
