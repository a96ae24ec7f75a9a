import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmgic.regions import crop_region
from mmgic.schema import IMAGE_WITH_REGIONS, KEPT, TOKENIZED_IMAGE, reject, row_id
from mmgic.settings import VisionSettings
from mmgic.vision import preprocess, save_tokenizer
from mmgic.vision.tokenize import TokenizeImages


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
    return TokenizeImages(folder, VisionSettings(), seed=5)


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


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(4)), st.integers(1, 4))
def test_a_record_is_the_same_in_every_batch(rows, stage, order, cut):
    expected = stage(rows)
    mixed = [rows[i] for i in order]
    assert stage(mixed[:cut]) + stage(mixed[cut:]) == [expected[i] for i in order]


def test_noise_belongs_to_the_record(rows, folder, stage):
    assert stage(rows) == TokenizeImages(folder, VisionSettings(batch_size=64), seed=5)(rows)
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


def test_frames_without_codes(rows, stage, monkeypatch):
    counts = iter([[4, 0, 3, 0], [0, 2, 2, 2]])
    monkeypatch.setattr(stage, "encode", lambda *_: [[7] * n for n in next(counts)])
    kept, empty = stage([rows[3], rows[3]])
    assert [len(region["codes"]) for region in kept["regions"]] == [3]
    assert kept["drops"] == [
        {"reason": "object_bad_box", "count": 2},
        {"reason": "region_no_visual_tokens", "count": 2},
    ]
    assert (empty["keep"], empty["reason"], empty["codes"]) == (False, "no_visual_tokens", [])
