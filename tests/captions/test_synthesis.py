"""F.4 on rows: the rules, the rounds, and that a caption is its image's own business."""

import random

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmgic.captions.synthesis import RankedCaption, choose, fits
from mmgic.settings import CaptionSettings

RULES = CaptionSettings(min_words=3, max_words=5, min_score=0.25)


def test_rules_at_their_limits():
    def ok(words: int, score: float) -> bool:
        return fits(RankedCaption(" ".join(["word"] * words), score, 0), RULES)

    assert [ok(words, 0.3) for words in (2, 3, 5, 6)] == [False, True, True, False]
    assert [ok(4, score) for score in (0.2499, 0.25, 0.9)] == [False, True, True]


def test_choice_worked_by_hand():
    long, short = RankedCaption("one two three four five six", 0.9, 0), RankedCaption("one two", 0.8, 0)
    good, better = RankedCaption("a b c", 0.3, 0), RankedCaption("a b d", 0.4, 0)
    # the highest score of those that fit, then the rest of the round by score
    assert choose([], [good, short, better, long], RULES) == [better, long, short, good]
    # none fits: the highest score of all, of whatever round and length
    first = choose([], [short, RankedCaption("a b c", 0.1, 0)], RULES)
    assert first[0] == short
    second = choose(first[:1], [RankedCaption("a b c", 0.2, 1), RankedCaption("a", 0.7, 1)], RULES)
    assert [c.score for c in second] == [0.8, 0.7, 0.2]
    # a caption that fits wins over an earlier one of a higher score that does not
    assert choose(second[:1], [RankedCaption("a b c", 0.26, 2)], RULES)[0].round == 2
    # a caption without words is the last choice
    assert choose([], [RankedCaption("", 0.9, 0), RankedCaption("a", -0.9, 0)], RULES)[0].caption == "a"


candidates = st.builds(
    lambda words, score: (" ".join(["w"] * words), score), st.integers(0, 7), st.floats(-1, 1, width=32)
)


@given(st.lists(st.lists(candidates, min_size=1, max_size=4), min_size=1, max_size=4))
def test_rounds_end_with_the_first_that_fits_or_the_best_of_all(rounds):
    made = [[RankedCaption(c, s, i) for c, s in said] for i, said in enumerate(rounds)]
    found: list[RankedCaption] = []
    for new in made:
        found = choose(found[:1], new, RULES)
        if fits(found[0], RULES):
            break
    seen = [c for new in made[: found[-1].round + 1] for c in new]
    good = [c for c in seen if fits(c, RULES)]
    if good:
        assert found[0].score == max(c.score for c in good)
    else:
        spoken = [c for c in seen if c.caption] or seen
        assert found[0].score == max(c.score for c in spoken)
    assert len(found) in (len(made[found[-1].round]), len(made[found[-1].round]) + 1)


def test_captions_do_not_depend_on_the_images_beside(run, toy_captions, rows):
    process = run(toy_captions(min_score=0.7))  # high enough that some images need more rounds
    together = process(rows)
    assert {row["candidates"][-1]["round"] for row in together} >= {0, 1}
    assert [process([row])[0] for row in rows[:2]] == together[:2]
    order = random.Random(0).sample(range(len(rows)), len(rows))
    mixed = process([rows[i] for i in order])
    assert mixed == [together[i] for i in order]


def test_another_seed_says_something_else(run, toy_captions, rows):
    process, other = run(toy_captions(rounds=1)), run(toy_captions(rounds=1), seed=1)
    assert [row["candidates"] for row in process(rows[:4])] != [row["candidates"] for row in other(rows[:4])]


def test_finished_rows_and_unreadable_images(run, toy_captions, rows, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG but no more")
    given_row = {**rows[0], "caption": "A given one.", "image_path": "/nowhere.png"}
    missing = {**rows[1], "image_path": str(tmp_path / "missing.png")}
    damaged = {**rows[2], "image_path": str(tmp_path / "broken.png")}
    Image.new("RGB", (2001, 100)).save(tmp_path / "strip.png")
    strip = {**rows[4], "image_path": str(tmp_path / "strip.png")}
    out = run(toy_captions(rounds=1))([given_row, rows[3], missing, damaged, strip])
    assert out[0] == given_row
    assert out[1]["caption"] == out[1]["candidates"][0]["caption"]
    assert out[1]["keep"]
    assert [(row["keep"], row["reason"], row["caption"]) for row in out[2:]] == [
        (False, "image_missing", ""),
        (False, "image_undecodable", ""),
        (False, "aspect_ratio", ""),
    ]
    assert all("prepared" not in row for row in out)


def test_image_caption_rows_get_their_coco_caption(run, toy_captions, rows):
    pair = {k: v for k, v in rows[0].items() if k != "caption"} | {"caption_coco": "", "caption_origin": "from the web"}
    (out,) = run(toy_captions(), column="caption_coco")([pair])
    assert out["caption_coco"] == out["candidates"][0]["caption"] != ""
    assert out["caption_origin"] == "from the web"


def test_images_are_encoded_once_and_only_those_without_a_caption_go_on(run, toy_captions, rows):
    settings = toy_captions(min_score=0.7, rounds=3, images_per_batch=2)
    process = run(settings)
    encoded, decoded = [], []
    captioner = process.synthesize.captioner
    captioner.model.vision_model.register_forward_hook(lambda *_: encoded.append(1))
    captioner.model.qformer.register_forward_hook(lambda *_: encoded.append(1))
    propose = captioner.propose
    captioner.propose = lambda features, uniforms: decoded.append(len(features)) or propose(features, uniforms)
    out = process(rows[:6])
    assert len(encoded) == 2 * 3  # six images, two at a time, whatever the rounds
    last = [max(c["round"] for c in row["candidates"]) for row in out]
    assert sum(decoded) == sum(number + 1 for number in last)
    assert 0 in last
    assert max(last) > 0


def test_fallback_is_the_best_of_all_rounds(run, toy_captions, rows):
    out = run(toy_captions(min_score=1.0, rounds=2))(rows[:4])
    every = [run(toy_captions(min_score=1.0, rounds=n))(rows[:4]) for n in (1, 2)]
    for row, first, second in zip(out, *every, strict=True):
        scores = [c["score"] for c in (*first["candidates"], *second["candidates"])]
        assert row["candidates"][0]["score"] == max(scores)
        assert row["keep"]


def test_selected_captions_fit_the_rules_and_beat_the_mean(run, toy_captions, rows):
    settings = toy_captions(candidates=10)
    for row in run(settings)(rows):
        chosen, *others = (RankedCaption(**c) for c in row["candidates"])
        assert fits(chosen, settings) or max(c.round for c in others) == settings.rounds - 1
        assert chosen.score >= sum(c.score for c in others) / len(others)
