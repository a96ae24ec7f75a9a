import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmgic.regions import (
    LOCATIONS,
    crop_region,
    intersection_over_area,
    location,
    make_regions,
    members_of_squares,
    squares,
)
from mmgic.schema import IMAGE_WITH_REGIONS, KEPT, reject
from mmgic.settings import RegionSettings


def thing(object_id, label, x, y, w, h):
    return {"object_id": str(object_id), "label": label, "synset": "", "x": x, "y": y, "w": w, "h": h}


def image(*objects, width=224, height=224):
    return {"width": width, "height": height, "objects": list(objects), "drops": [], **KEPT}


def regions(*objects, patches=16, **frame):
    return make_regions(image(*objects, **frame), RegionSettings(), patches)


def test_a_square_is_as_long_as_its_box_and_centred_on_it():
    [region] = regions(thing(1, "cat", 56, 84, 112, 56))["regions"]
    assert region == {"x": 0.25, "y": 0.25, "side": 0.5, "location": "Center", "labels": ["cat"], "codes": []}


def test_a_square_that_would_leave_the_frame_is_pushed_back():
    row = regions(thing(1, "mast", 0, 0, 14, 112), thing(2, "flag", 210, 196, 14, 28))
    first, second = row["regions"]
    assert (first["x"], first["y"], first["side"], first["location"]) == (0, 0, 0.5, "Top Left")
    assert (second["x"], second["y"], second["side"]) == (0.875, 0.875, 0.125)
    assert second["location"] == "Bottom Right"


def test_the_frame_is_the_squashed_image():
    # a box of 200 x 100 in 800 x 200 is 0.25 x 0.5 of the frame
    [region] = regions(thing(1, "car", 400, 50, 200, 100), width=800, height=200)["regions"]
    assert region == {"x": 0.375, "y": 0.25, "side": 0.5, "location": "Center", "labels": ["car"], "codes": []}


def test_labels_of_objects_in_the_square_are_merged_own_label_first():
    row = regions(
        thing(30, "man", 0, 0, 60, 120),
        thing(4, "hat", 20, 0, 30, 28),
        thing(5, "shoe", 10, 90, 30, 28),
        thing(6, "man", 62, 30, 30, 60),
        thing(7, "tree", 112, 0, 112, 150),  # 8 of its 112 columns are in the first man's square
    )
    by_label = {region["labels"][0]: region["labels"] for region in row["regions"]}
    assert by_label["hat"] == ["hat"]
    # by object id: hat 4, shoe 5, the other man 6 (named once)
    assert [r["labels"] for r in row["regions"] if r["side"] == 120 / 224] == [["man", "hat", "shoe"]]
    assert by_label["tree"] == ["tree"]


@pytest.mark.parametrize(("width", "inside"), [(50, True), (50.1, False)])
def test_an_object_belongs_to_a_square_from_four_fifths_of_its_area(width, inside):
    # the square of the cat spans columns 50 to 100; of the dog's 50 columns from 60 on, 40 are in it
    row = regions(thing(1, "cat", 50, 50, 50, 50), thing(2, "dog", 60, 60, width, 30))
    assert ("dog" in row["regions"][0]["labels"]) == inside


def test_squares_of_the_same_objects_are_one_region_the_first_by_number():
    row = regions(
        thing(10, "plate", 100, 100, 50, 50), thing(9, "cup", 102, 102, 46, 46), thing("b", "spoon", 101, 103, 48, 40)
    )
    assert [region["labels"] for region in row["regions"]] == [["cup", "plate", "spoon"]]
    assert row["drops"] == [{"reason": "region_duplicate", "count": 2}]


def test_same_labels_of_other_objects_are_no_duplicates():
    row = regions(thing(1, "cup", 0, 0, 50, 50), thing(2, "cup", 100, 100, 50, 50))
    assert [region["labels"] for region in row["regions"]] == [["cup"], ["cup"]]
    assert row["drops"] == []


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [(27.9, "region_too_small"), (28, ""), (182, ""), (182.1, "region_too_large"), (224, "region_too_large")],
)
@pytest.mark.parametrize("frame", [224, 333, 1000])
def test_sides_are_between_2_and_13_patches(pixels, reason, frame):
    row = regions(thing(1, "cat", 0, 0, pixels / 224 * frame, 5), width=frame, height=frame)
    assert [drop["reason"] for drop in row["drops"]] == ([reason] if reason else [])
    assert len(row["regions"]) == (not reason)


def test_limits_follow_the_frame_of_another_tokenizer():
    # 2 to 13 patches of 32, the whole frame being 32 patches wide
    [region] = regions(thing(1, "cat", 0, 0, 14, 7), thing(2, "dog", 50, 50, 112, 112), patches=32)["regions"]
    assert region["labels"] == ["cat"]


def test_drops_add_to_the_earlier_ones():
    row = {**image(thing(1, "cat", 0, 0, 5, 5)), "drops": [{"reason": "object_crowd", "count": 3}]}
    assert make_regions(row, RegionSettings(), 16)["drops"] == [
        {"reason": "object_crowd", "count": 3},
        {"reason": "region_too_small", "count": 1},
    ]


def test_an_image_that_no_region_is_left_of_is_set_aside():
    small, large = thing(1, "cat", 0, 0, 5, 5), thing(2, "sky", 0, 0, 224, 100)
    row = regions(small, large)
    assert (row["regions"], row["keep"], row["reason"]) == ([], False, "no_regions")
    assert row["detail"] == "none of the squares around its 2 objects is between 2 and 13 patches"
    assert row["drops"] == [{"reason": "region_too_large", "count": 1}, {"reason": "region_too_small", "count": 1}]
    kept = make_regions(image(small, large), RegionSettings(keep_images_without=True), 16)
    assert kept == {**row, **KEPT}
    assert regions(small, thing(3, "dog", 50, 50, 60, 60))["keep"]


def test_a_row_that_was_set_aside_before_keeps_its_reason():
    row = {**image(width=0, height=0), **reject("no_objects", "none")}
    made = make_regions(row, RegionSettings(), 16)
    assert (made["regions"], made["reason"], made["detail"]) == ([], "no_objects", "none")


@pytest.mark.parametrize(
    ("x", "y", "name"),
    [
        (0, 0, "Top Left"),
        (0.5, 0.1, "Top Middle"),
        (0.9, 0.33, "Top Right"),
        (0.2, 0.5, "Middle Left"),
        (0.5, 0.5, "Center"),
        (1 / 3, 1 / 3, "Center"),
        (0.1 + 0.7 / 3, 0.5, "Center"),  # 1/3 but for the rounding
        (2 / 3, 2 / 3, "Bottom Right"),
        (1 / 3, 2 / 3, "Bottom Middle"),
        (0.66, 0.67, "Bottom Middle"),
        (1, 1, "Bottom Right"),
    ],
)
def test_locations(x, y, name):
    assert location(x, y) == name
    assert len(set(LOCATIONS)) == 9


GRID = 48


@st.composite
def grid_boxes(draw):
    """Whole-numbered boxes in a frame of GRID x GRID pixels."""
    x, y = draw(st.integers(0, GRID - 1)), draw(st.integers(0, GRID - 1))
    return x, y, draw(st.integers(1, GRID - x)), draw(st.integers(1, GRID - y))


@given(st.lists(grid_boxes(), min_size=1, max_size=6))
@settings(deadline=None)
def test_squares_hold_their_boxes_in_the_frame_as_centred_as_can_be(boxes):
    corners, sides = squares(np.array(boxes) / GRID)
    for (x, y, w, h), corner, side in zip(boxes, corners * GRID, sides * GRID, strict=True):
        assert side == pytest.approx(max(w, h))
        for start, length, left in ((x, w, corner[0]), (y, h, corner[1])):
            assert -1e-9 <= left <= start + 1e-9
            assert start + length <= left + side + 1e-9 <= GRID + 2e-9
            # no other place in the frame has a centre closer to the box's: half-pixel steps hold the best one
            ideal = start + length / 2
            best = min(abs(k / 2 + side / 2 - ideal) for k in range(2 * GRID + 1) if k / 2 + side <= GRID + 1e-9)
            assert abs(left + side / 2 - ideal) == pytest.approx(best, abs=1e-9)


@given(st.lists(grid_boxes(), min_size=1, max_size=6))
@settings(deadline=None)
def test_intersection_over_area_is_the_share_of_half_pixels(boxes):
    corners, sides = squares(np.array(boxes) / GRID)
    found = intersection_over_area(corners, sides, np.array(boxes) / GRID)

    def half_pixels(x, y, w, h):
        mask = np.zeros((2 * GRID, 2 * GRID), bool)
        left, top, right, bottom = (round(2 * edge) for edge in (x, y, x + w, y + h))
        mask[top:bottom, left:right] = True
        return mask

    for i, (corner, side) in enumerate(zip(corners * GRID, sides * GRID, strict=True)):
        square = half_pixels(*corner, side, side)
        for j, other in enumerate(boxes):
            mask = half_pixels(*other)
            assert found[i, j] == pytest.approx((square & mask).sum() / mask.sum())


@given(st.lists(grid_boxes(), max_size=8), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_regions_of_any_image(boxes, shuffler):
    objects = [thing(i, f"label {i % 3}", *map(float, box)) for i, box in enumerate(boxes)]
    row = make_regions(image(*objects, width=GRID, height=GRID), RegionSettings(), 16)
    made = row["regions"]
    assert len(made) + sum(drop["count"] for drop in row["drops"]) == len(boxes)
    for region in made:
        assert 2 - 1e-6 <= region["side"] * 16 <= 13 + 1e-6
        assert region["x"] >= 0
        assert region["y"] >= 0
        assert max(region["x"], region["y"]) + region["side"] <= 1 + 1e-9
        assert len(set(region["labels"])) == len(region["labels"]) > 0
    shuffler.shuffle(objects)
    assert make_regions({**row, "objects": objects, "drops": []}, RegionSettings(), 16)["regions"] == made
    assert pa.array(made, type=IMAGE_WITH_REGIONS.field("regions").type.value_type).to_pylist() == made


@given(st.lists(grid_boxes(), min_size=1, max_size=30), st.integers(1, 40), st.sampled_from([0.0, 0.3, 0.8, 1.0]))
@settings(deadline=None)
def test_blocks_of_pairs_find_what_all_pairs_at_once_find(boxes, pairs, merge_ioa):
    frame = np.array(boxes) / GRID
    corners, sides = squares(frame)
    inside = intersection_over_area(corners, sides, frame) >= merge_ioa - 1e-9
    np.fill_diagonal(inside, True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mmgic.regions.PAIRS_AT_ONCE", pairs)
        found = [members.tolist() for members in members_of_squares(corners, sides, frame, merge_ioa)]
    assert found == [np.flatnonzero(row).tolist() for row in inside]


@pytest.mark.parametrize("edges", [(90, 180), (30, 600)])
def test_memory_does_not_grow_with_the_square_of_the_boxes(edges):
    draw = np.random.default_rng(0)
    number = 4000
    lengths = draw.uniform(*edges, (number, 2))
    starts = draw.uniform(0, 1000 - lengths)
    things = [
        thing(i, f"label {i % 50}", *box) for i, box in enumerate(np.concatenate([starts, lengths], axis=1).tolist())
    ]
    row = image(*things, width=1000, height=1000)
    tracemalloc.start()
    try:
        made = make_regions(row, RegionSettings(), 16)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(made["regions"]) > 1000
    assert peak < 30 << 20  # one matrix of all pairs alone takes 128 MB


def test_an_image_of_very_many_boxes_has_the_regions_that_are_drawn():
    draw = np.random.default_rng(0)
    boxes = np.concatenate([draw.uniform(0, 800, (300, 2)), draw.uniform(130, 180, (300, 2))], axis=1).tolist()
    row = image(*(thing(i, f"label {i % 7}", *box) for i, box in enumerate(boxes)), width=1000, height=1000)
    every = make_regions(row, RegionSettings(), 16)
    some = make_regions(row, RegionSettings(max_regions=20), 16)
    assert len(some["regions"]) == 20 < len(every["regions"])
    places = [every["regions"].index(region) for region in some["regions"]]
    assert places == sorted(places)  # in the order of all
    assert places[-1] > 100  # from anywhere among them
    left_out = {"reason": "region_not_drawn", "count": len(every["regions"]) - 20}
    assert left_out in some["drops"]
    assert make_regions(row, RegionSettings(max_regions=len(every["regions"])), 16)["regions"] == every["regions"]


def test_a_crop_is_the_mapped_rectangle_of_the_original():
    pixels = np.random.default_rng(0).integers(0, 256, (200, 800, 3), dtype=np.uint8)
    crop = crop_region(Image.fromarray(pixels), 0.375, 0.25, 0.5)
    assert crop.size == (400, 100)
    np.testing.assert_array_equal(np.asarray(crop), pixels[50:150, 300:700])


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 1))
@settings(deadline=None)
def test_a_crop_is_never_empty_and_never_outside(width, height, x, y, side):
    pixels = np.full((height, width), 255, np.uint8)
    crop = np.asarray(crop_region(Image.fromarray(pixels), x * (1 - side), y * (1 - side), side))
    assert crop.size > 0
    assert (crop == 255).all()  # beyond its edges Pillow pads with zeros
    for edge, size in zip(crop.shape, (height, width), strict=True):
        assert abs(edge - side * size) <= 1
