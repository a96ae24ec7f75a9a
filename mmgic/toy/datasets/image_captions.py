"""The toy world's image-caption and interleaved datasets in their own formats (G.1, C.6), with the faults of the web.

blip_captions/         ccs_filtered.json ccs_synthetic_filtered_large.json
capsfusion/            capsfusion_1.parquet
laion_coco_aesthetic/  laion-coco_v3_filter.parquet
journeydb/             train_anno_realease_repath.jsonl images/000/
cc3m/ cc12m/ sbu/      GCC-training.tsv; cc12m.tsv; sbu-captions-all.json
webdataset/            00000.tar 00000.parquet
mmc4/                  docs_shard_0_v2.jsonl.zip images/
image_captions/        00000.tar 00000.parquet: many pairs and no fault

Urls lead to toy.invalid, a name that no network has; the images lie in img2dataset's shards in each `images/` folder,
so that a build needs no network. The urls of missing ones are dead links.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmgic.download.shard import Fetched, ShardEntry, write_shard
from mmgic.images import ImageError
from mmgic.toy.datasets.samples import CaptionedScene, World, write_bytes, write_json, write_lines

HOST = "http://toy.invalid"
DATASETS = ("blip_captions", "capsfusion", "laion_coco_aesthetic", "journeydb", "cc3m", "cc12m", "sbu", "webdataset")
_SHARES = (0, 0, 0, 1, 1, 1, 2, 3, 4, 5, 6, 7)  # of DATASETS, in turn
_NOISE = ("stock photo", "buy online - free delivery", "IMG_{number}.JPG", "pictures of the week", "{number} px")
_IMAGES_PER_DOCUMENT = 3


def write_image_captions(root: Path, world: World, numbers: range) -> None:
    """The datasets of DATASETS from the scenes `numbers`, three times as many of the first two as of the others."""
    for dataset, name in enumerate(DATASETS):
        shared = [n for i, n in enumerate(numbers) if _SHARES[i % len(_SHARES)] == dataset]
        _WRITERS[name](root / name, caption_records(name, world, shared))


def write_sound_pairs(root: Path, world: World, numbers: range) -> None:
    """Writes image_captions/: a shard of img2dataset with the pairs that a training needs many of."""
    records = caption_records("image_captions", world, numbers)
    _write_webdataset(root / "image_captions", [record for record in records if record.sound])


def caption_records(dataset: str, world: World, numbers: Iterable[int]) -> list[CaptionRecord]:
    """The records of one dataset; its faults depend on their positions in it."""
    return [CaptionRecord(dataset, position, sample, world) for position, sample in enumerate(world.samples(numbers))]


class CaptionRecord:
    """A scene with its captions of each kind and, by its position in its dataset, its fault."""

    def __init__(self, dataset: str, position: int, sample: CaptionedScene, world: World) -> None:
        rng = world.generator(dataset, sample.number)
        noise = _NOISE[int(rng.integers(len(_NOISE)))].format(number=sample.image_id)
        self.position = position
        self.sample = sample
        self.url = f"{HOST}/{dataset}/{sample.image_id}.jpg"
        self.origin = f"{sample.captions[1].rstrip('.').lower()} | {noise}"
        self.coco = sample.captions[0].rstrip(".").lower()
        self.detailed = " ".join(sample.captions)
        self.dead = position % 11 == 5
        self.broken = position % 40 == 17  # faults that count as errors stay rare
        self.nameless = position % 40 == 29

    @property
    def sound(self) -> bool:
        return not (self.dead or self.broken or self.nameless)

    def jpeg(self) -> bytes:
        content = self.sample.jpeg()
        return content[: len(content) // 3] if self.broken else content


def _write_images(
    stem: Path, records: list[CaptionRecord], fields: Mapping[str, Mapping[str, str]] | None = None
) -> None:
    """A shard as img2dataset writes it. `fields` are the images' further columns by url."""
    with tempfile.TemporaryDirectory() as scratch:
        entries = []
        for record in records:
            key = f"{record.position:09}"
            result: Fetched | ImageError = ImageError("download_failed", "HTTP Error 404: Not Found")
            if not record.dead:
                file = Path(scratch) / key
                file.write_bytes(record.jpeg())
                result = Fetched(file, "jpg", record.sample.scene.width, record.sample.scene.height)
            entries.append(ShardEntry(key, record.url, record.origin, dict((fields or {}).get(record.url, {})), result))
        write_shard(str(stem), entries)


def write_blip_captions(folder: Path, records: list[CaptionRecord], pair: str = "ccs", shard: int = 0) -> None:
    """The filters of a pair's two files differ, so some urls are in one alone; a few are listed twice."""
    web = [{"url": r.url, "caption": r.origin} for r in records if r.position % 8 != 3]
    synthetic = [{"caption": r.coco, "url": r.url} for r in reversed(records) if r.position % 8 != 6]
    web += [{"url": r.url, "caption": f"{r.origin} again"} for r in records if r.position % 16 == 2]
    web += [{"caption": r.origin} for r in records if r.nameless]
    write_json(folder / f"{pair}_filtered.json", web)
    write_json(folder / f"{pair}_synthetic_filtered_large.json", synthetic)
    _write_images(folder / f"images/{shard:05d}", records)


def write_capsfusion(folder: Path, records: list[CaptionRecord]) -> None:
    rows = [
        {
            "image_url": None if r.nameless else r.url,
            "laion_2b": None if r.position % 12 == 4 else r.origin,
            "laion_coco": r.coco,
            "capsfusion": r.detailed,
        }
        for r in records
    ]
    _write_parquet(folder / "capsfusion_1.parquet", rows)
    _write_images(folder / "images/00000", records)


def write_aesthetic(folder: Path, records: list[CaptionRecord]) -> None:
    rows = [{"url": r.url, "caption": r.coco, "aesthetic": 5.0 + r.position % 5 / 10} for r in records]
    _write_parquet(folder / "laion-coco_v3_filter.parquet", rows)
    _write_images(folder / "images/00000", records)


def write_journeydb(folder: Path, records: list[CaptionRecord], images: str = "images") -> None:
    """A caption may be null, short or not there."""
    lines = []
    for r in records:
        name = f"000/{r.sample.image_id:08d}-toy.jpg"
        caption = {2: None, 7: "A scene."}.get(r.position % 12, r.detailed)
        task = {} if r.position % 12 == 8 else {"Task2": {"Caption": caption}}
        line = {"img_path": f"./{name}", "prompt": f"{r.coco} --v 4", **task, "Task3": {"Style": [], "Content": []}}
        lines.append({"prompt": "lost"} if r.nameless else line)
        write_bytes(folder / images / name, r.jpeg())
    write_lines(folder / "train_anno_realease_repath.jsonl", lines)


def _write_cc3m(folder: Path, records: list[CaptionRecord]) -> None:
    write_bytes(folder / "GCC-training.tsv", "".join(f"{r.origin}\t{r.url}\n" for r in records).encode())
    _write_images(folder / "images/00000", records)


def _write_cc12m(folder: Path, records: list[CaptionRecord]) -> None:
    write_bytes(folder / "cc12m.tsv", "".join(f"{r.url}\t{r.origin}\n" for r in records).encode())
    _write_images(folder / "images/00000", records)


def _write_sbu(folder: Path, records: list[CaptionRecord]) -> None:
    lists = {
        "image_urls": [r.url for r in records],
        "user_ids": [f"user{r.position}" for r in records],
        "captions": [r.origin for r in records],
    }
    write_json(folder / "sbu-captions-all.json", lists)
    _write_images(folder / "images/00000", records)


def _write_webdataset(folder: Path, records: list[CaptionRecord]) -> None:
    _write_images(folder / "00000", records, {r.url: {"laion_coco": r.coco} for r in records})


_WRITERS: Mapping[str, Callable[[Path, list[CaptionRecord]], None]] = dict(
    zip(
        DATASETS,
        (
            write_blip_captions,
            write_capsfusion,
            write_aesthetic,
            write_journeydb,
            _write_cc3m,
            _write_cc12m,
            _write_sbu,
            _write_webdataset,
        ),
        strict=True,
    )
)


def _write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def write_mmc4(root: Path, world: World, numbers: range) -> None:
    """MMC4: a document for every three scenes; some images are dead links, and some documents are listed twice."""
    folder = root / "mmc4"
    samples = list(world.samples(numbers))
    lines: list[dict[str, Any]] = []
    for number, start in enumerate(range(0, len(samples), _IMAGES_PER_DOCUMENT)):
        lines.append(_document(folder, number, samples[start : start + _IMAGES_PER_DOCUMENT]))
        if number % 12 == 7:
            lines.append({**lines[-1], "could_have_url_duplicate": 1})
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / "docs_shard_0_v2.jsonl.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        # a fixed time: the same world gives the same bytes
        archive.writestr(zipfile.ZipInfo("docs_shard_0_v2.jsonl"), "".join(f"{json.dumps(line)}\n" for line in lines))


def _document(folder: Path, number: int, samples: list[CaptionedScene]) -> dict[str, Any]:
    sentences = ["These pictures were drawn by a machine."]
    sentences += [sample.captions[0] for sample in samples]
    sentences += [""] if number % 10 == 3 else ["That is all."]
    infos = list(_image_infos(folder, number, samples))
    matrix = [[0.35 if j == i + 1 else 0.15 for j in range(len(sentences))] for i in range(len(infos))]
    return {
        "url": f"{HOST}/pages/{number}.html",
        "text_list": sentences,
        "image_info": infos,
        "similarity_matrix": matrix,
        "could_have_url_duplicate": int(number % 12 == 7),
    }


def _image_infos(folder: Path, number: int, samples: list[CaptionedScene]) -> Iterator[dict[str, Any]]:
    for i, sample in enumerate(samples):
        name = f"{sample.image_id:012x}.jpg"
        if (number + i) % 8 != 6:  # else a dead link
            write_bytes(folder / "images" / name, sample.jpeg())
        info = {"image_name": name, "raw_url": f"{HOST}/mmc4/{name}", "face_detections": None, "matched_sim": 0.35}
        yield info if (number + i) % 9 == 4 else {**info, "matched_text_index": i + 1}
