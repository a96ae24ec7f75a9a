import pytest

from mmgic.answers import Answer
from mmgic.errors import InputError
from mmgic.language_model import LanguageModel
from mmgic.merge_captions import MAX_ORIGIN_CHARACTERS, MergeCaptions, merge_prompt, needs_merging, read_caption
from mmgic.settings import LanguageModelSettings
from mmgic.toy.language_model_server import MODEL, serve


def row(origin="Mill St | Buy now", coco="a street with a house", capsfusion="", **changes):
    return {"caption_origin": origin, "caption_coco": coco, "caption_capsfusion": capsfusion, "drops": [], **changes}


@pytest.fixture
def merge(tmp_path, monkeypatch):
    """Merges rows with the toy server; returns the rows and what it was asked."""

    def run(rows):
        with serve() as server:
            monkeypatch.setenv("OPENAI_API_KEY", server.token)
            settings = LanguageModelSettings(
                base_url=server.base_url, model=MODEL, cache=str(tmp_path / "answers.sqlite"), retries=0
            )
            return MergeCaptions(LanguageModel(settings, "captions"))(rows), server.asked

    return run


def test_only_rows_that_lack_a_detailed_caption_are_merged(merge):
    rows = [row(), row(capsfusion="A street."), row(origin=" "), row(coco=""), row(image_id="7")]
    merged, asked = merge(rows)
    assert merged[0] == row(capsfusion="A street with a house, known as Mill St | Buy now.")
    assert merged[1:4] == rows[1:4]
    assert merged[4] == {**merged[0], "image_id": "7"}
    assert len(asked) == 1  # two rows with the same captions are one question


def test_what_the_model_cannot_merge_keeps_the_short_caption_and_is_counted(merge):
    # the sentence of the toy model is longer than a merged caption may be
    bad = row(origin="x " * 80, coco="y " * 60, drops=[{"reason": "image_failed", "count": 1}])
    merged, _ = merge([bad, row()])
    assert merged[0]["caption_capsfusion"] == bad["caption_coco"]
    assert merged[0]["drops"] == [{"reason": "caption_not_merged", "count": 1}, {"reason": "image_failed", "count": 1}]
    assert merged[1]["drops"] == []


@pytest.mark.parametrize(
    ("answer", "caption"),
    [
        (Answer(' "A house\nin Mill Street."\n'), "A house in Mill Street."),
        (Answer("Merged caption: A house."), "A house."),
        (Answer(""), ""),
        (Answer('""'), ""),
        (Answer("A house.\n\nI hope that this helps!"), ""),
        (Answer("I'm sorry, I cannot merge these."), ""),
        (Answer("word " * 121), ""),
        (Answer("word " * 120), ("word " * 120).strip()),
        (Answer("A house in", problem="cut off at language_model.max_tokens"), ""),
        (Answer("", problem="the request failed: no", failed=True), ""),
    ],
)
def test_replies_are_checked(answer, caption):
    assert read_caption(answer) == caption


def test_long_web_captions_are_cut_at_a_word():
    prompt = merge_prompt("wordy " * 1000, "a\nhouse")
    web, short = prompt.user.splitlines()[:2]
    assert web.endswith(" wordy ...")
    assert len(web) <= len("Web caption: ") + MAX_ORIGIN_CHARACTERS + 4
    assert short == "Short caption: a house"
    assert merge_prompt("one two", "x").user.startswith("Web caption: one two\n")


def test_needs_merging():
    assert needs_merging(row())
    assert not needs_merging(row(capsfusion="x"))


def test_a_server_that_is_gone_stops_the_merging(tmp_path):
    settings = LanguageModelSettings(
        base_url="http://127.0.0.1:9/v1", model=MODEL, cache=str(tmp_path / "a.sqlite"), retries=0, concurrency=2
    )
    rows = [row(origin=f"Mill St {i}") for i in range(9)]
    with pytest.raises(InputError, match=r"the language model at http://127\.0\.0\.1:9/v1 does not answer"):
        MergeCaptions(LanguageModel(settings, "captions"))(rows)
