"""The captions stage on Ray: the same rows whatever the workers, and left out on request alone."""

from functools import partial
from pathlib import Path

import pytest

from mmgic.errors import InputError
from mmgic.pipelines.captions import run_captions
from mmgic.presets import TOY_WEIGHTS
from mmgic.schema import ANNOTATED_IMAGE, CAPTIONED_IMAGE
from mmgic.settings import Settings, SettingsError, merge
from mmgic.sources.captions.pairs import captioned_image
from mmgic.sources.rows import annotated_image
from mmgic.stages import tables
from mmgic.stages.digest import digest
from mmgic.stages.ingest import ingest
from mmgic.stages.places import Places
from mmgic.toy.world.render import render
from mmgic.toy.world.scenes import make_scene

pytestmark = pytest.mark.usefixtures("ray_cluster")
ROWS = 30


def annotations(images: Path) -> list[dict]:
    """Scenes, of which the first has a caption and the second an image that cannot be read."""
    images.mkdir(exist_ok=True)
    rows = []
    for i in range(ROWS):
        render(make_scene(7, "eval", i)).save(images / f"{i}.png")
        path = str(images / f"{i}.png")
        rows.append(annotated_image("toy", str(i), 0, image_path=path, caption="Given." if i == 0 else ""))
    (images / "1.png").write_bytes(b"no picture")
    return rows


def settings_of(output: Path, **changes: object) -> Settings:
    toy = {"blip2": str(TOY_WEIGHTS / "blip2"), "clip": str(TOY_WEIGHTS / "clip_ranker"), "dtype": "float32"}
    captions = {**toy, "images_per_batch": 2, "candidates": 4, "rounds": 2}
    cluster = {"tokenizer_gpus": 0, "tokenizer_workers": 1, "data_workers": 1, "rows_per_block": 10}
    return merge(
        Settings(output=str(output)), {"captions": captions, "cluster": cluster | changes.pop("cluster", {}), **changes}
    )


def test_same_captions_on_one_and_two_workers(tmp_path: Path) -> None:
    readers = [partial(annotations, tmp_path / "images")]
    table = ingest("mmgic/annotations", Places(str(tmp_path / "before")), ANNOTATED_IMAGE, readers, {})
    digests = set()
    for workers in (1, 2):
        settings = settings_of(tmp_path / str(workers), cluster={"tokenizer_workers": workers})
        made = run_captions(settings, "mmgic", table, ANNOTATED_IMAGE)
        manifest = made.manifest
        assert (made.name, manifest.rows_in, manifest.kept) == ("mmgic/captions", ROWS, ROWS - 1)
        assert manifest.reasons == {"image_undecodable": 1}
        digests.add(digest(made.folder))
    assert len(digests) == 1
    rows = tables.open_table(f"{settings.output}/mmgic/captions").to_table().to_pylist()
    assert {row["caption"]: row["candidates"] for row in rows if row["image_id"] == "0"} == {"Given.": []}
    made = [row for row in rows if row["keep"] and row["image_id"] != "0"]
    assert all(row["caption"] == row["candidates"][0]["caption"] for row in made)
    assert all(4 <= len(row["candidates"]) <= 5 for row in made)


def captioned(images: Path) -> list[dict]:
    """Web images with a short caption, and one of JourneyDB with a detailed one."""
    path = str(images / "0.png")
    rows = [captioned_image("web", str(i), 0, image_path=path, caption_coco="Given.") for i in range(2)]
    return [*rows, captioned_image("journey", "0", 0, image_path=path, caption_capsfusion="A picture of much.")]


def test_image_caption_data_is_captioned_anew_unless_the_settings_keep_what_was_given(tmp_path: Path) -> None:
    annotations(tmp_path / "images")
    sources = [{"name": "web", "format": "webdataset"}, {"name": "journey", "format": "journeydb"}]
    made = {}
    for kept in ((), ("ic",)):
        settings = settings_of(tmp_path / str(len(kept)), sources=sources)
        settings = merge(settings, {"captions": {"keep_given": kept, "rounds": 1, "candidates": 2}})
        table = ingest(
            "ic/images", Places(settings.output), CAPTIONED_IMAGE, [partial(captioned, tmp_path / "images")], {}
        )
        folder = run_captions(settings, "ic", table, CAPTIONED_IMAGE).folder
        made[kept] = sorted(tables.open_table(folder).to_table().to_pylist(), key=lambda row: row["image_id"])
    for row in made[()]:
        if row["source"] == "web":
            assert row["caption_coco"] == row["candidates"][0]["caption"] != "Given."
        else:
            assert (row["caption_coco"], row["caption_capsfusion"]) == ("", "A picture of much.")
    assert {row["caption_coco"] for row in made[("ic",)]} == {"Given.", ""}
    assert not any(row["candidates"] for row in made[("ic",)])


def test_left_out_on_request_alone_and_refused_with_a_wrong_model(tmp_path: Path) -> None:
    readers = [partial(annotations, tmp_path / "images")]
    cleaned = ingest("mmgic/cleaned", Places(str(tmp_path)), ANNOTATED_IMAGE, readers, {})
    unnamed = Settings(output=str(tmp_path))
    with pytest.raises(SettingsError, match=r"captions.blip2 names no model, .* captions.synthesize=false"):
        run_captions(unnamed, "mmgic", cleaned, ANNOTATED_IMAGE)
    without = merge(unnamed, {"captions": {"synthesize": False}})
    assert run_captions(without, "mmgic", cleaned, ANNOTATED_IMAGE) == cleaned
    settings = merge(settings_of(tmp_path), {"captions": {"clip": str(tmp_path / "nothing")}})
    with pytest.raises(InputError, match=r"captions\.clip is .* without a readable config\.json"):
        run_captions(settings, "mmgic", cleaned, ANNOTATED_IMAGE)
    assert not (tmp_path / "mmgic" / "captions").exists()
