"""Which items the settings ask for."""

import json
from dataclasses import replace

import pytest

from mmgic.errors import InputError
from mmgic.evaluation.benchmark import Item
from mmgic.evaluation.items import _first, benchmarks_of, items_of, only
from mmgic.presets import preset
from mmgic.settings import BenchmarkSettings


def test_some_of_the_benchmarks():
    settings = preset("toy")
    assert [benchmark.name for benchmark in only(settings, ["pope", "pope"]).evaluation.benchmarks] == ["pope"]
    assert only(settings, [b.name for b in settings.evaluation.benchmarks]) == settings
    with pytest.raises(InputError, match="did you mean 'pope'"):
        only(settings, ["popes"])
    with pytest.raises(InputError, match="has no coco_captions; add its name, files and images"):
        only(only(settings, ["pope"]), ["coco_captions"])


def test_no_benchmark_and_one_twice_are_refused():
    settings = preset("toy")
    twice = settings.evaluation.benchmarks * 2
    for benchmarks, message in (((), "nothing to evaluate on"), (twice, "has coco_captions twice")):
        with pytest.raises(InputError, match=message):
            benchmarks_of(replace(settings, evaluation=replace(settings.evaluation, benchmarks=benchmarks)))


def test_first_images_count_once_and_items_without_one_count_as_one():
    def item(number, *images):
        return Item(number, "open_vqa" if images else "text_only", images=images)

    items = [item(1, "a"), item(2, "b"), item(3, "a", "c"), item(4), item(5, b"picture"), item(6), item(7, b"picture")]
    for most, ids in ((1, [1, 3]), (2, [1, 2, 3]), (3, [1, 2, 3, 4]), (4, [1, 2, 3, 4, 5, 7]), (9, range(1, 8))):
        assert [found.id for found in _first(items, most)] == list(ids)


def test_an_item_about_no_image_is_refused(tmp_path):
    file = tmp_path / "references.json"
    file.write_text(json.dumps({"annotations": [{"image_id": 7, "caption": "a"}]}))
    with pytest.raises(InputError, match=r"item 7 of .* has no image"):
        items_of(BenchmarkSettings(name="coco_captions", files=(str(file),)), preset("toy"))
