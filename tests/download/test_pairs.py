from __future__ import annotations

import pytest
from PIL import Image

from mmgic.download import DownloadImages
from mmgic.download.pairs import PairImages, check_image
from mmgic.pipelines import images
from mmgic.schema import REASONS
from mmgic.settings import CleaningSettings, DownloadSettings, Settings, merge
from mmgic.sources.captions.pairs import captioned_image


def pair(number=0, **columns):
    return captioned_image("s", str(number), 0, caption_coco="a cat", **columns)


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        ((224, 224), ""),
        ((223, 400), "short_side"),
        ((400, 223), "short_side"),
        ((300, 900), ""),
        ((300, 920), "aspect_ratio"),  # 0.326
        ((900, 300), ""),
        ((901, 300), "aspect_ratio"),
    ],
)
def test_size_rules(size, reason):
    row = check_image(pair(width=size[0], height=size[1], image_path="/nowhere.jpg"), CleaningSettings())
    assert (row["keep"], row["reason"]) == (not reason, reason)
    if reason:
        assert row["detail"] == f"{size[0]} x {size[1]} pixels"


@pytest.mark.parametrize(("rules", "reasons"), [(True, ["short_side", "aspect_ratio", ""]), (False, ["", "", ""])])
def test_size_rules_may_be_left_out(rules, reasons, tmp_path):
    changes = {"output": str(tmp_path), "download": {"size_rules": rules}}
    transform = images._transform(merge(Settings(), changes), "ic", str(tmp_path / "shards"))
    rows = [
        pair(i, width=w, height=h, image_path="/nowhere.jpg")
        for i, (w, h) in enumerate([(9, 9), (999, 230), (300, 300)])
    ]
    assert [row["reason"] for row in transform(rows)] == reasons


def test_sizes_that_the_source_does_not_know_come_from_the_files(tmp_path):
    Image.new("RGB", (250, 300)).save(tmp_path / "whole.jpg")
    (tmp_path / "text.jpg").write_text("no image")
    rows = [
        pair(0, image_path=str(tmp_path / "whole.jpg")),
        pair(1, image_path=str(tmp_path / "text.jpg")),
        pair(2, image_path=str(tmp_path / "none.jpg")),
        pair(3),
        pair(4, keep=False, reason="no_caption"),
    ]
    transform = PairImages(DownloadImages(DownloadSettings(), str(tmp_path / "shards")), CleaningSettings())
    made = transform(rows)
    assert [row["reason"] for row in made] == ["", "image_undecodable", "image_missing", "image_missing", "no_caption"]
    assert (made[0]["width"], made[0]["height"]) == (250, 300)
    assert [row["row_id"] for row in made] == [row["row_id"] for row in rows]
    assert {row["reason"] for row in made[1:]} <= set(REASONS)
    assert not (tmp_path / "shards").exists()
