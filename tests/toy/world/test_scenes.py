from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mmgic.schema import record_generator
from mmgic.toy.world import text, words
from mmgic.toy.world.pictograms import PICTOGRAMS
from mmgic.toy.world.render import render
from mmgic.toy.world.scenes import Thing, make_scene

INDEX = st.integers(0, 10**6)
SPLIT = st.sampled_from(("train", "eval"))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), index=INDEX, split=SPLIT)
def test_scene_keeps_its_promises(seed, index, split):
    scene = make_scene(seed, split, index)
    assert scene == make_scene(seed, split, index)
    assert 96 <= scene.width <= 160
    assert 96 <= scene.height <= 160
    assert 1 <= len(scene.things) <= 5
    assert len(set(scene.categories)) == len(scene.things)
    assert sorted(i for group in scene.groups for i in group) == list(range(len(scene.things)))
    for thing in scene.things:
        x, y, w, h = thing.box
        assert x >= 0
        assert y >= 0
        assert x + w <= scene.width
        assert y + h <= scene.height
        # more than one of 8x8 patches in one direction once squashed to a square
        assert max(w / scene.width, h / scene.height) > 1.15 / 8
        assert split == "eval" or not words.held_out(thing.category, thing.colour)


@settings(max_examples=60, deadline=None)
@given(index=INDEX)
def test_relationships_hold_in_the_picture(index):
    scene = make_scene(3, "train", index)
    for relation in scene.relations:
        a, b = scene.things[relation.subject], scene.things[relation.object]
        (ax, ay, aw, ah), (bx, by, bw, bh) = a.box, b.box
        if relation.label == "left of":
            assert ax + aw / 2 < bx + bw / 2
        elif relation.label == "above":
            assert ay + ah / 2 < by + bh / 2
        elif relation.label == "on":
            assert ay + ah == pytest.approx(by + b.pictogram.top * bh, abs=0.5)
            assert bx < ax + aw / 2 < bx + bw
            assert relation.subject > relation.object  # drawn over it
        elif relation.label == "inside":
            assert by < ay + ah < by + bh
            assert relation.subject < relation.object  # the container hides the lower part
        elif relation.label == "wears":
            assert b.category == "hat"
            assert by < ay < by + bh
        else:
            assert relation.label == "holds"
            assert bx < ax + aw < bx + bw
        assert not (relation.label in ("on", "inside") and a.state == "flying")


def test_every_combination_of_the_train_split_leaves_out_the_same_pairs():
    pairs = {(category, colour) for category in words.CATEGORIES for colour in words.COLOURS}
    held_out = {pair for pair in pairs if words.held_out(*pair)}
    assert 0.08 < len(held_out) / len(pairs) < 0.15
    train = {(t.category, t.colour) for i in range(4000) for t in make_scene(0, "train", i).things}
    evaluation = {(t.category, t.colour) for i in range(1500) for t in make_scene(0, "eval", i).things}
    assert not train & held_out
    assert train == pairs - held_out
    assert len(evaluation & held_out) > 0.9 * len(held_out)


def test_there_are_enough_categories_and_all_can_be_drawn():
    assert len(words.CATEGORIES) >= 24
    for category in words.CATEGORIES.values():
        for state in ("", *category.states):
            assert f"{category.name} {state}".strip() in PICTOGRAMS
    labels = {label for c in words.CATEGORIES.values() for label in (*c.states, *c.materials)}
    assert labels | set(words.COLOURS) | set(words.SIZES) == set(words.ATTRIBUTE_DESCRIPTIONS)


@pytest.mark.parametrize("name", sorted(PICTOGRAMS))
def test_pictogram_fills_its_box(name):
    points = [numbers[int(kind in ("line", "ring")) :] for kind, _, numbers in PICTOGRAMS[name].shapes]
    xs, ys = [x for p in points for x in p[::2]], [y for p in points for y in p[1::2]]
    assert (min(xs), min(ys)) == pytest.approx((0, 0), abs=0.055)
    assert (max(xs), max(ys)) == pytest.approx((1, 1), abs=0.055)


@settings(max_examples=30, deadline=None)
@given(index=INDEX)
@example(index=397)  # a baby in white in a black cup
@example(index=1393)  # and one in a box
def test_colour_of_every_object_shows_in_its_box(index):
    scene = make_scene(5, "train", index)
    pixels = np.asarray(render(scene)).astype(int)
    for thing in scene.things:
        x, y, w, h = (round(edge) for edge in thing.box)
        near = np.abs(pixels[y : y + h, x : x + w] - words.COLOURS[thing.colour]).max(axis=-1) < 30
        assert near.mean() > 0.03, (thing, near.mean())


@settings(max_examples=40, deadline=None)
@given(index=INDEX, split=SPLIT)
def test_captions_are_true_and_complete(index, split):
    scene = make_scene(1, split, index)
    lines = text.captions(scene, record_generator(0, "test", split, str(index)), 5)
    assert len(set(lines)) == 5
    for line in lines:
        spoken = line.rstrip(".").lower().replace(",", "").split()
        assert {c for c in words.CATEGORIES if c in spoken} == set(scene.categories)
        assert {c for c in words.COLOURS if c in spoken} == {t.colour for t in scene.things}
        assert line[0].isupper()
        assert line.endswith(".")


def test_noun_phrases():
    assert text.noun_phrase(Thing("chair", "red", "small", "wooden"), True) == "a small red wooden chair"
    assert text.noun_phrase(Thing("umbrella", "orange", state="closed"), True) == "a closed orange umbrella"
    assert text.noun_phrase(Thing("umbrella", "orange", state="closed"), False) == "an orange umbrella"
    assert text.noun_phrase(Thing("man", "blue", state="waving"), True) == "a waving man in blue"


@settings(max_examples=40, deadline=None)
@given(index=INDEX)
def test_existence_questions_are_balanced_and_true(index):
    scene = make_scene(1, "train", index)
    asked = text.existence_questions(scene, record_generator(0, "test", "q", str(index)), pairs=3)
    assert [answer for _, answer in asked].count("yes") * 2 == len(asked) == 2 * min(3, len(scene.things))
    present = {text.existence_question(name) for name in scene.categories}
    assert all((question in present) == (answer == "yes") for question, answer in asked)


def test_a_question_about_what_is_shown_elsewhere_does_not_give_its_answer_away():
    """Guessing by setting and category, with the answers about as many other scenes, is little better than a coin."""
    scenes = [make_scene(1, "train", number) for number in range(1500)]
    shown = text.categories_shown(scenes)

    def guessed_right(shown) -> float:
        asked = [
            (scene.setting, question, answer == "yes")
            for number, scene in enumerate(scenes)
            for question, answer in text.existence_questions(
                scene, record_generator(0, "test", "shown", str(number)), pairs=3, shown=shown
            )
        ]
        half = len(asked) // 2
        said = Counter()
        for setting, question, yes in asked[:half]:
            said[setting, question] += 1 if yes else -1
        return sum((said[setting, question] > 0) == yes for setting, question, yes in asked[half:]) / (
            len(asked) - half
        )

    assert guessed_right(None) > 0.74
    assert guessed_right(shown) < 0.63
