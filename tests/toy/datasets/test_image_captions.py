"""The toy world's image-caption and interleaved datasets, read by the readers of the real ones."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from mmgic.images import ImageError, read_image
from mmgic.settings import SourceSettings
from mmgic.sources.formats import read_source
from mmgic.stages.lifecycle import ERRORS
from mmgic.toy.datasets.image_captions import DATASETS, HOST, write_image_captions, write_mmc4, write_sound_pairs
from mmgic.toy.datasets.samples import World
from mmgic.toy.world.scenes import make_scene

FIRST = 3_000_000
SCENES = 480


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ic")
    world = World(0)
    write_image_captions(root, world, range(FIRST, FIRST + SCENES))
    write_mmc4(root, world, range(4_000_000, 4_000_090))
    return root


def read(folder: Path, name: str) -> list[dict]:
    files = {"annotations": "ccs_filtered.json", "captions": "ccs_synthetic_filtered_large.json"}
    source = SourceSettings(
        name=name,
        format=name,
        path=str(folder / name.removesuffix("_pairs")),
        **(files if name == "blip_captions" else {}),
    )
    return list(read_source(source))


EXPECTED = {
    "blip_captions": {"no_caption", "duplicate_id", "bad_record"},
    "capsfusion": {"bad_record"},
    "laion_coco_aesthetic": set(),
    "journeydb": {"no_caption", "bad_record"},
    "cc3m": set(),
    "cc12m": set(),
    "sbu": set(),
    "webdataset": {"download_failed"},
    "mmc4": {"duplicate_id"},
    "mmc4_pairs": {"duplicate_id"},
}


@pytest.mark.parametrize("name", EXPECTED)
def test_faults_are_there_and_rare(folder, name):
    rows = read(folder, name)
    reasons = Counter(row["reason"] for row in rows if not row["keep"])
    assert set(reasons) == EXPECTED[name]
    assert sum(reasons[reason] for reason in ERRORS) <= 0.05 * len(rows)
    assert len(rows) - reasons.total() >= 25


@pytest.mark.parametrize("name", DATASETS)
def test_images_are_at_hand_but_for_dead_links_and_tell_what_the_captions_say(folder, name):
    outcomes: Counter[str] = Counter()
    for row in read(folder, name):
        if not row["keep"]:
            continue
        if not row["image_path"]:
            assert row["url"].startswith(HOST)
            outcomes["dead"] += 1
            continue
        number = int((row["url"] or row["image_path"]).rpartition("/")[2].split(".")[0].split("-")[0]) - 1
        scene = make_scene(0, "train", number)
        caption = row["caption_coco"] or row["caption_capsfusion"] or row["caption_origin"]
        assert all(category in caption.lower() for category in scene.categories)
        outcomes[decoded(row["image_path"], (scene.width, scene.height))] += 1
    assert set(outcomes) <= {"whole", "image_undecodable", "dead"}
    assert outcomes["whole"] >= 25
    assert 0 < outcomes["image_undecodable"] <= 0.05 * outcomes.total()
    assert outcomes["dead"] > 0 or name in ("journeydb", "webdataset")


def decoded(path: str, size: tuple[int, int]) -> str:
    """What comes of an image file that should have `size`."""
    try:
        return "whole" if read_image(path).size == size else "other size"
    except ImageError as error:
        return error.reason


def test_documents_lack_matches_and_images_here_and_there(folder):
    rows = [row for row in read(folder, "mmc4") if row["keep"]]
    images = [image for row in rows for image in row["images"]]
    assert 0 < sum(not image["image_path"] for image in images) < len(images) / 4
    assert len(images) == 90
    assert any(drop["reason"] == "sentence_empty" for row in rows for drop in row["drops"])


def test_sound_pairs_have_images_and_short_captions_of_their_scenes(tmp_path):
    write_sound_pairs(tmp_path, World(0), range(3_500_000, 3_500_012))
    source = SourceSettings(name="image_captions", format="webdataset", path=str(tmp_path / "image_captions"))
    rows = list(read_source(source))
    assert len(rows) == 11  # one of twelve would be a dead link
    for row in rows:
        scene = make_scene(0, "train", int(row["url"].rpartition("/")[2].removesuffix(".jpg")) - 1)
        assert row["keep"]
        assert read_image(row["image_path"]).size == (scene.width, scene.height)
        assert all(name in row["caption_coco"] for name in scene.categories)
