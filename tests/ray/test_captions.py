"""The captions stage on Ray: the same rows whatever the workers, and left out where there is no model."""

from functools import partial
from pathlib import Path

import pytest

from mmgic.errors import InputError
from mmgic.pipelines.captions import run_captions
from mmgic.presets import TOY_WEIGHTS
from mmgic.schema import ANNOTATED_IMAGE
from mmgic.settings import Settings, merge
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
    cluster = {"tokenizer_gpus": 0, "data_workers": 1, "rows_per_block": 10}
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


def test_left_out_without_a_model_and_refused_with_a_wrong_one(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    readers = [partial(annotations, tmp_path / "images")]
    cleaned = ingest("mmgic/cleaned", Places(str(tmp_path)), ANNOTATED_IMAGE, readers, {})
    assert run_captions(Settings(output=str(tmp_path)), "mmgic", cleaned, ANNOTATED_IMAGE) == cleaned
    assert "captions.blip2 names no model" in capsys.readouterr().out
    settings = merge(settings_of(tmp_path), {"captions": {"clip": str(tmp_path / "nothing")}})
    with pytest.raises(InputError, match=r"captions\.clip is .* without a readable config\.json"):
        run_captions(settings, "mmgic", cleaned, ANNOTATED_IMAGE)
    assert not (tmp_path / "mmgic" / "captions").exists()
