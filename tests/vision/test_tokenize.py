import pickle

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmgic.regions import crop_region
from mmgic.schema import IMAGE_WITH_REGIONS, INTERLEAVED, KEPT, TOKENIZED_IMAGE, reject, row_id
from mmgic.settings import VisionSettings
from mmgic.vision import save_tokenizer
from mmgic.vision.preprocess import preprocess
from mmgic.vision.tokenize import TokenizeImages, load_frames, with_codes


def make_row(path, image_id, regions=(), **change):
    row = {
        "row_id": row_id("toy", image_id),
        "source": "toy",
        "image_id": image_id,
        "image_path": str(path),
        "width": 60,
        "height": 40,
        "caption": "a caption",
        "narrative": "",
        "candidates": [],
        "objects": [],
        "attributes": [],
        "relationships": [],
        "regions": [
            {"x": x, "y": y, "side": s, "location": "Center", "labels": ["dog"], "codes": []} for x, y, s in regions
        ],
        "drops": [{"reason": "object_bad_box", "count": 2}],
        **KEPT,
    }
    return row | change


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    made = []
    for i in range(4):
        pixels = np.random.default_rng(i).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        made.append(make_row(folder / f"{i}.png", str(i), [(0.1 * k, 0.0, 0.3 + 0.1 * k) for k in range(i)]))
    return made


@pytest.fixture(scope="module")
def folder(small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(small, folder)
    return str(folder)


@pytest.fixture(scope="module")
def stage(folder):
    return TokenizeImages(folder, VisionSettings(batch_size=8), seed=5)


def test_rows_fit_the_schema_and_codes_are_those_of_the_frames(rows, stage):
    assert pa.Table.from_pylist(rows, IMAGE_WITH_REGIONS).num_rows == 4
    table = pa.Table.from_pylist(stage(rows), TOKENIZED_IMAGE)
    assert table.to_pylist() == stage(rows)
    row = table.to_pylist()[3]
    image = Image.open(row["image_path"]).convert("RGB")
    whole = stage.model.encode(preprocess(image, 32)[None], noise=stage.noise("toy", "3", 0)[None])[0]
    assert row["codes"] == whole.tolist()
    region = row["regions"][1]
    crop = crop_region(image, region["x"], region["y"], region["side"])
    codes = stage.model.encode(preprocess(crop, 32)[None], noise=stage.noise("toy", "3", 2)[None])[0]
    assert region["codes"] == codes.tolist()


def test_rows_of_many_regions_have_the_same_codes_from_fewer_frames_at_once(rows, stage, folder, monkeypatch):
    gone = make_row("/nowhere.png", "5", [(0, 0, 0.5)] * 3)
    expected = stage([*rows, gone])
    few = TokenizeImages(folder, VisionSettings(batch_size=8), seed=5)
    most = []
    whole = few.encode_frames
    monkeypatch.setattr(few, "encode_frames", lambda pixels, noise: most.append(len(pixels)) or whole(pixels, noise))
    monkeypatch.setattr("mmgic.vision.tokenize.MOST_FRAMES", 2)
    assert load_frames(rows[3], 32) is None
    assert few([*rows, gone]) == expected
    assert sorted(most) == [3, 3, 4]  # the rows of few regions together, and each of the others alone


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(4)), st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_a_record_is_the_same_in_every_batch(rows, stage, order, sizes):
    """Whatever the order of the rows and however they are cut into calls, their codes are the same."""
    expected = stage(rows)
    mixed = [rows[i] for i in order]
    found, start = [], 0
    for size in [*sizes, 4]:
        found += stage(mixed[start : start + size]) if start < 4 else []
        start += size
    assert found == [expected[i] for i in order]


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(16)), st.integers(1, 16))
def test_what_the_codes_come_from_does_not_depend_on_neighbours(small, order, count):
    """The kept rows of an image, in float32, from batches of one size with other images in other places."""
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randn(16, 3, 32, 32, generator=generator)
    kept = torch.rand(16, 16, generator=generator) < 0.4

    def merged(chosen):
        batch, policy = torch.zeros(16, 3, 32, 32), torch.zeros(16, 16)
        batch[: len(chosen)], policy[: len(chosen)] = pixels[chosen], kept[chosen].float()
        with torch.inference_mode():
            rows = small.causal_encoder.kept_rows(small.patch_features(batch), policy)
        return rows.split(policy.sum(dim=1).int().tolist())

    alone = merged(order[:count])
    together = merged(list(range(16)))
    for place, image in enumerate(order[:count]):
        scale = together[image].abs().max() if len(together[image]) else 1
        assert torch.all((alone[place] - together[image]).abs() <= 1e-5 * scale)


def test_noise_belongs_to_the_record(rows, folder, stage):
    assert stage(rows) == TokenizeImages(folder, VisionSettings(batch_size=8), seed=5)(rows)
    assert stage(rows) != TokenizeImages(folder, VisionSettings(), seed=6)(rows)
    draws = {stage.noise(*record).numpy().tobytes() for record in (("a", "1", 0), ("a", "1", 1), ("b", "1", 0))}
    assert len(draws) == 3


def test_argmax_needs_no_seed(rows, folder):
    first, second = (TokenizeImages(folder, VisionSettings(selection="argmax"), seed)(rows) for seed in (1, 2))
    assert first == second


def test_frames_beyond_the_batch_size_come_in_several_passes(rows, folder, stage):
    assert TokenizeImages(folder, VisionSettings(batch_size=3), seed=5)(rows) == stage(rows)


def test_unusable_images_are_set_aside_with_their_reason(rows, stage, tmp_path):
    (tmp_path / "text.png").write_text("no image")
    bad = [
        make_row(tmp_path / "none.png", "a"),
        make_row(tmp_path / "text.png", "b"),
        make_row(rows[0]["image_path"], "c", width=59),
        make_row(tmp_path / "none.png", "d", **reject("short_side", "12")),
        rows[0],
    ]
    out = stage(bad)
    assert [row["reason"] for row in out] == ["image_missing", "image_undecodable", "size_mismatch", "short_side", ""]
    assert [row["keep"] for row in out] == [False] * 4 + [True]
    assert out[2]["detail"] == "60 x 40 decoded, 59 x 40 annotated"
    assert pa.Table.from_pylist(out, TOKENIZED_IMAGE).num_rows == 5


def test_frames_without_codes(rows):
    codes = {0: [7] * 4, 1: [], 2: [7] * 3, 3: []}
    kept = with_codes(rows[3], codes, {})
    assert [region["codes"] for region in kept["regions"]] == [[7] * 3]
    assert kept["drops"] == [
        {"reason": "object_bad_box", "count": 2},
        {"reason": "region_no_visual_tokens", "count": 2},
    ]
    empty = with_codes(rows[3], codes | {0: []}, {})
    assert (empty["keep"], empty["reason"], empty["codes"]) == (False, "no_visual_tokens", [])


def test_frames_prepared_on_a_cpu_task_give_the_same_rows(rows, stage):
    size = stage.model.config.image_size
    prepared = [{**row, "prepared": pickle.loads(pickle.dumps(load_frames(row, size)))} for row in rows]
    assert stage(prepared) == stage(rows)
    assert load_frames(rows[2], size).pixels.shape == (3, 3, size, size)


def test_captioned_images_get_codes(rows, stage):
    row = {
        "row_id": 1,
        "source": "web",
        "image_id": "a",
        "image_path": rows[0]["image_path"],
        "width": 0,
        "height": 0,
        **KEPT,
    }
    good, bad = stage([row, {**row, "row_id": 2, "image_path": "nowhere.png"}])
    assert good["codes"]
    assert good["keep"]
    assert (bad["codes"], bad["reason"]) == ([], "image_missing")


def interleaved(task, paths):
    parts = [{"text": "", "image": i} for i in range(len(paths))] + [{"text": "words", "image": -1}]
    return {
        "row_id": row_id("web", task),
        "source": "web",
        "image_id": task,
        "task": task,
        "images": [{"url": "", "image_path": str(path), "codes": []} for path in paths],
        "rounds": [{"instruction": [parts[0]], "response": parts}],
        "drops": [],
        **KEPT,
    }


def test_interleaved_rows_with_and_without_images(rows, stage):
    paths = [row["image_path"] for row in rows[:3]]
    none, some = stage([interleaved("text_only", []) | {"rounds": []}, interleaved("open_vqa", paths)])
    assert none["keep"]
    assert none["images"] == []
    assert [len(image["codes"]) > 0 for image in some["images"]] == [True] * 3
    pixels = load_frames(some, 32).pixels
    assert [image["codes"] for image in some["images"]] == stage.encode(torch.from_numpy(pixels), "web", "open_vqa")
    assert pa.Table.from_pylist([none, some], INTERLEAVED).num_rows == 2


def test_a_bad_image_ends_an_instruction_and_leaves_a_document(rows, stage):
    paths = [rows[0]["image_path"], "nowhere.png", rows[2]["image_path"]]
    instruction, document, lost = stage(
        [interleaved("open_vqa", paths), interleaved("interleaved", paths), interleaved("interleaved", ["a.png"])]
    )
    assert (instruction["keep"], instruction["reason"]) == (False, "image_missing")
    assert (lost["keep"], lost["reason"]) == (False, "image_missing")
    assert document["keep"]
    assert document["drops"] == [{"reason": "image_failed", "count": 1}]
    assert [image["image_path"] for image in document["images"]] == [paths[0], paths[2]]
    assert [part["image"] for part in document["rounds"][0]["response"]] == [0, 1, -1]
    # an image's noise is that of its place in the record, also where one before it failed
    whole = stage([interleaved("interleaved", [paths[0], rows[1]["image_path"], paths[2]])])[0]
    assert document["images"][1]["codes"] == whole["images"][2]["codes"]
