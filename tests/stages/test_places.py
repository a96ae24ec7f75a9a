"""Tables name images by the place they lie in, so that a run and its data can be moved."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mmgic.files import write_text
from mmgic.images import read_image, slice_path
from mmgic.pipelines.annotations import describe_source
from mmgic.pipelines.places import places_near, places_of
from mmgic.settings import Settings, SourceSettings, to_yaml
from mmgic.stages.places import Places

PLACES = Places("/run", {"coco": ["/data/coco"], "llava": ["/run/world/llava", "/data/coco/train2017", "/elsewhere"]})


@pytest.mark.parametrize(
    ("source", "path", "stored"),
    [
        ("coco", "/data/coco/train2017/1.jpg", "{data}/train2017/1.jpg"),
        ("coco", "/data/coconut/1.jpg", "/data/coconut/1.jpg"),  # another folder, of a longer name
        ("llava", "/run/world/llava/1.jpg", "{data}/1.jpg"),  # a folder inside the output
        ("llava", "/data/coco/train2017/1.jpg", "{images}/1.jpg"),
        ("llava", "/elsewhere/a/1.jpg", "{images_2}/a/1.jpg"),
        ("coco", slice_path("/run/ic/shards/0a.tar", 512, 9), "{output}/ic/shards/0a.tar#bytes=512-9"),
        ("unknown", "/run/ic/shards/0a.tar", "{output}/ic/shards/0a.tar"),
        ("unknown", "/data/coco/1.jpg", "/data/coco/1.jpg"),
        ("coco", "s3://bucket/1.jpg", "s3://bucket/1.jpg"),
        ("coco", "", ""),
    ],
)
def test_a_path_is_stored_by_its_place_and_found_again(source: str, path: str, stored: str) -> None:
    assert PLACES.stored_path(path, source) == stored
    assert PLACES.whole_path(stored, source) == path


def test_a_moved_run_finds_its_images(tmp_path: Path) -> None:
    before, after = (
        Places(f"{tmp_path}/{run}", {"web": [f"{tmp_path}/{data}"]}) for run, data in (("a", "b"), ("c", "d"))
    )
    row = {"source": "web", "image_path": f"{tmp_path}/b/1.png", "detail": f"{tmp_path}/b/1.png: cut short"}
    stored = before.store(row)
    assert stored == {"source": "web", "image_path": "{data}/1.png", "detail": "{data}/1.png: cut short"}
    assert after.resolve(stored)["image_path"] == f"{tmp_path}/d/1.png"
    page = {"source": "web", "images": [{"image_path": f"{tmp_path}/a/ic/shards/1.tar", "url": "u"}], "detail": ""}
    assert before.store(page)["images"] == [{"image_path": "{output}/ic/shards/1.tar", "url": "u"}]
    assert after.resolve(before.store(page))["images"][0]["image_path"] == f"{tmp_path}/c/ic/shards/1.tar"
    assert before.resolve(before.store(page)) == page


def test_a_table_alone_finds_its_images_by_the_settings_of_its_run(tmp_path: Path) -> None:
    source = SourceSettings(name="coco", path=f"{tmp_path}/data", images=f"train | {tmp_path}/val")
    settings = Settings(preset="toy", output=f"{tmp_path}/gone", sources=(source,))
    write_text(f"{tmp_path}/run/settings.yaml", to_yaml(settings))
    (tmp_path / "val").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "val/1.png")
    for folder in (f"{tmp_path}/run", f"{tmp_path}/run/mmgic/documents/repeat_0"):
        places = places_near(folder)
        assert places == places_of(replace(settings, output=f"{tmp_path}/run"))
        read_image(places.whole_path("{images}/1.png", "coco"))


def test_sources_are_known_by_their_files_wherever_they_lie(tmp_path: Path) -> None:
    described = []
    for folder in ("a", "b"):
        data = tmp_path / folder / "vg"
        for name in ("objects.json", "more/attributes.json"):
            write_text(f"{data}/{name}", name)
        (data / "val").mkdir()
        pq.write_table(pa.table({"image_id": [1]}), data / "val/0.parquet")
        write_text(f"{tmp_path}/{folder}/karpathy/dataset_coco.json", "splits")
        source = SourceSettings(
            name="vg",
            format="visual_genome",
            path=str(data),
            images=f"images | {data}/val",
            annotations=f"more/attributes.json | {data}/objects.json",
            karpathy=f"{tmp_path}/{folder}/karpathy/dataset_coco.json",
        )
        described.append(describe_source(source, places_of(Settings(sources=(source,)))))
    assert described[0] == described[1]
    assert set(described[0]["files"]) == {
        *("objects.json", "more/attributes.json", "val/0.parquet", "dataset_coco.json"),
    }
    assert str(tmp_path) not in str(described)
    write_text(f"{data}/objects.json", "others")
    changed = describe_source(source, places_of(Settings(sources=(source,))))
    assert {name for name, digest in changed["files"].items() if digest != described[0]["files"][name]} == {
        "objects.json"
    }
