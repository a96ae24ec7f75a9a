"""The image-caption, interleaved and instruction datasets, each below data/ as it is downloaded, and COCO's images.

blip_captions/         {ccs,laion}_filtered.json {ccs,laion}_synthetic_filtered_large.json images/
capsfusion/            capsfusion_1.parquet images/
laion_coco_aesthetic/  laion-coco_v3_filter.parquet images/
journeydb/data/train/  train_anno_realease_repath.jsonl imgs/000/
mmc4/                  docs_shard_0_v2.jsonl.zip images/
llava/                 llava_instruct_80k.json llava_v1_5_mix665k.json
coco/                  train2017/, which LLaVA, its mixture and ShareGPT4V are about
gqa/ ocr_vqa/ textvqa/ vg/                                       further images of the mixture
sam/ wikiart/          further images of ShareGPT4V
llavar/ sharegpt4v/ unimm_chat/ laion_gpt4v/ instructpix2pix/ magicbrush/ alpaca/

What is downloaded by url lies beside its list in img2dataset's shards (`images/`), as img2dataset leaves it there.
"""

from __future__ import annotations

import json
from pathlib import Path

from mmgic.toy.datasets.image_captions import (
    caption_records,
    write_aesthetic,
    write_blip_captions,
    write_capsfusion,
    write_journeydb,
)
from mmgic.toy.datasets.instructions import WRITERS
from mmgic.toy.datasets.samples import World, write_json

# Where the images of an instruction dataset lie below data/
_IMAGES = {
    "llava": "coco/train2017",
    "llavar": "llavar/images",
    "sharegpt4v": ".",  # names begin with coco/, sam/ or wikiart/
    "unimm_chat": "",
    "laion_gpt4v": "laion_gpt4v/images",
    "instructpix2pix": "",
    "magicbrush": "",
    "alpaca": "",
}
# what a writer of the toy world calls a file -> its name in the release
_NAMES = {
    "unimm_chat/unimm_chat.parquet": "unimm_chat/data/train-00000-of-00001.parquet",
    "laion_gpt4v/train.parquet": "laion_gpt4v/data/train-00000-of-00001.parquet",
    "magicbrush/train-00000-of-00001.parquet": "magicbrush/data/train-00000-of-00001.parquet",
}


def write_caption_downloads(data: Path, world: World, numbers: range) -> None:
    """The sources of G.1. BLIP's two pairs lie in one folder."""
    shares = {"blip_ccs": 3, "blip_laion": 3, "capsfusion": 3, "laion_coco_aesthetic": 2, "journeydb": 1}
    parts = {}
    start = 0
    for name, share in shares.items():
        end = start + share * len(numbers) // sum(shares.values())
        parts[name] = caption_records(name, world, numbers[start:end])
        start = end
    write_blip_captions(data / "blip_captions", parts["blip_ccs"], "ccs", shard=0)
    write_blip_captions(data / "blip_captions", parts["blip_laion"], "laion", shard=1)
    write_capsfusion(data / "capsfusion", parts["capsfusion"])
    write_aesthetic(data / "laion_coco_aesthetic", parts["laion_coco_aesthetic"])
    write_journeydb(data / "journeydb/data/train", parts["journeydb"], images="imgs")


def write_instruction_downloads(data: Path, world: World, numbers: range) -> None:
    """The datasets of Table 14, each about all scenes of `numbers`."""
    samples = list(world.samples(numbers))
    for name, images in _IMAGES.items():
        WRITERS[name](data / name, data / images, samples, world)
    for old, new in _NAMES.items():
        (data / new).parent.mkdir(parents=True, exist_ok=True)
        (data / old).rename(data / new)
    # LLaVA's repository holds several selections of the same conversations
    records = json.loads((data / "llava/llava_instruct_150k.json").read_text(encoding="utf-8"))
    write_json(data / "llava/llava_instruct_80k.json", records[: max(2, len(records) // 2)])
    WRITERS["llava_mix"](data / "llava", data, samples, world)  # its names begin with coco/, gqa/ and so on
