"""Templates of questions with options, and what is said of their scores."""

from __future__ import annotations

import pytest

from mmgic.errors import InputError
from mmgic.evaluation.benchmark import Item
from mmgic.evaluation.templates import TABLE_16, TEMPLATES, Sweep, posed, template_names

ITEM = Item(1, "multiple_choice", "Which?", hint="A hint {x}.", choices=("a {cat}", "blue"), options=("A", "B"))


def test_there_are_eight_and_more_and_each_shows_all_that_the_item_has():
    assert len(TEMPLATES) >= 8
    texts = {posed(name)(ITEM).question for name in TEMPLATES}
    assert len(texts) == len(TEMPLATES)
    for text in texts:
        assert all(part in text for part in ("Which?", "A hint {x}.", "a {cat}", "blue", "A", "B"))


def test_published_forms():
    assert posed(TABLE_16)(ITEM).question == "A hint {x}.\nWhich?\nA. a {cat}\nB. blue"
    assert posed(TABLE_16)(ITEM).task == "multiple_choice"  # whose own sentence asks for the letter
    vlmevalkit = posed("vlmevalkit")(ITEM)
    assert vlmevalkit.question.startswith("Hint: A hint {x}.\nQuestion: Which?\nOptions:\nA. a {cat}\nB. blue\nPlease")
    assert vlmevalkit.task == "image_conversation"


def test_items_without_choices_stay_as_they_are_and_names_are_known():
    item = Item(1, "open_vqa", "Is it?", options=("Yes", "No"))
    assert posed("seed")(item) == item
    assert template_names("all")[0] == TABLE_16
    with pytest.raises(InputError, match="there is no template 'x'"):
        template_names("x")


def test_best_is_marked_as_chosen_on_the_test_set():
    sweep = Sweep({"a": 50.0, "b": 60.0, "c": 40.0, "d": 60.0})
    assert (sweep.best, sweep.mean, sweep.lowest) == ("b", 52.5, 40)
    assert sweep.standard_error == pytest.approx(4.7871355)
    assert sweep.lines()[0].startswith(
        "templates: best 60.00 ('b', chosen on the test set), mean 52.50 ± 4.79, lowest 40"
    )
    assert sweep.lines()[1:] == [
        "template 'a': 50.00",
        "template 'b': 60.00",
        "template 'c': 40.00",
        "template 'd': 60.00",
    ]
