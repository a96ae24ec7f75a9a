"""Datasets on disk as rows, one module per format."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from mmgic.schema import ANNOTATED_IMAGE, CAPTIONED_IMAGE, INTERLEAVED
from mmgic.settings import SourceSettings
from mmgic.sources.captions.blip_captions import read_blip_captions
from mmgic.sources.captions.capsfusion import read_capsfusion, read_laion_coco_aesthetic
from mmgic.sources.captions.caption_lists import read_cc3m, read_cc12m, read_sbu
from mmgic.sources.captions.journeydb import read_journeydb
from mmgic.sources.captions.webdataset import read_webdataset
from mmgic.sources.detection.coco import read_coco
from mmgic.sources.detection.open_images import FILES as OPEN_IMAGES_FILES
from mmgic.sources.detection.open_images import read_open_images
from mmgic.sources.detection.v3det import read_v3det
from mmgic.sources.detection.visual_genome import read_visual_genome
from mmgic.sources.instructions.captions import read_laion_gpt4v, read_textcaps
from mmgic.sources.instructions.editing import read_instructpix2pix, read_magicbrush
from mmgic.sources.instructions.llava import read_llava
from mmgic.sources.instructions.questions import read_aokvqa, read_gqa, read_ocrvqa
from mmgic.sources.instructions.texts import read_alpaca, read_sharegpt
from mmgic.sources.instructions.unimm_chat import read_unimm_chat
from mmgic.sources.instructions.vqav2 import OKVQA_FILES, read_okvqa, read_vqav2
from mmgic.sources.interleaved.mmc4 import read_mmc4, read_mmc4_pairs
from mmgic.sources.reading.files import choices

Corpus = Literal["mmgic", "ic", "mmc4", "sft"]

# The rows of each corpus: annotated images, image-caption pairs, interleaved documents, instruction rounds
SCHEMAS: dict[Corpus, pa.Schema] = {
    "mmgic": ANNOTATED_IMAGE,
    "ic": CAPTIONED_IMAGE,
    "mmc4": INTERLEAVED,
    "sft": INTERLEAVED,
}


@dataclass(frozen=True)
class Reader:
    """How a format is read. `files` are the names below the source's folder, with *, that its rows depend on."""

    corpus: Corpus
    read: Callable[[SourceSettings], Iterator[dict[str, Any]]]
    files: tuple[str, ...] = ()


READERS: dict[str, Reader] = {
    "coco": Reader("mmgic", read_coco),
    "open_images": Reader("mmgic", read_open_images, OPEN_IMAGES_FILES),
    "v3det": Reader("mmgic", read_v3det),
    "visual_genome": Reader(
        "mmgic", read_visual_genome, ("image_data.json", "objects.json", "attributes.json", "relationships.json")
    ),
    "blip_captions": Reader("ic", read_blip_captions),
    "capsfusion": Reader("ic", read_capsfusion, ("*.parquet", "*.json")),
    "laion_coco_aesthetic": Reader("ic", read_laion_coco_aesthetic, ("*.parquet",)),
    "journeydb": Reader("ic", read_journeydb, ("*anno*.jsonl", "data/train/*anno*.jsonl")),
    "cc3m": Reader("ic", read_cc3m, ("*.tsv",)),
    "cc12m": Reader("ic", read_cc12m, ("*.tsv",)),
    "sbu": Reader("ic", read_sbu, ("sbu-captions-all.json",)),
    "webdataset": Reader("ic", read_webdataset, ("*.parquet",)),
    "mmc4": Reader("mmc4", read_mmc4, ("*.jsonl*",)),
    "mmc4_pairs": Reader("mmc4", read_mmc4_pairs, ("*.jsonl*",)),
    "llava": Reader("sft", read_llava, ("*.json",)),
    "unimm_chat": Reader("sft", read_unimm_chat, ("*.parquet", "data/*.parquet", "*.json")),
    "vqav2": Reader("sft", read_vqav2),
    "okvqa": Reader("sft", read_okvqa, OKVQA_FILES),
    "gqa": Reader("sft", read_gqa, ("train_balanced_questions.json", "train_all_questions/*.json")),
    "ocrvqa": Reader("sft", read_ocrvqa, ("dataset.json",)),
    "aokvqa": Reader("sft", read_aokvqa, ("aokvqa_v1p0_train.json",)),
    "laion_gpt4v": Reader("sft", read_laion_gpt4v, ("*.parquet", "data/*.parquet", "*.jsonl")),
    "textcaps": Reader("sft", read_textcaps, ("TextCaps_0.1_train.json",)),
    "instructpix2pix": Reader("sft", read_instructpix2pix, ("seeds.json", "*.parquet", "data/*.parquet")),
    "magicbrush": Reader("sft", read_magicbrush, ("*.parquet", "data/*.parquet")),
    "alpaca": Reader("sft", read_alpaca, ("*.json",)),
    "sharegpt": Reader("sft", read_sharegpt, ("*.json",)),
}


def annotation_files(source: SourceSettings) -> list[str]:
    """Paths, with *, of the annotation files that a source's rows depend on; its reader says which must be there."""
    named = (source.annotations, source.captions, source.answers)
    names = [*READERS[source.format].files, *(choice for name in named if name for choice in choices(name))]
    inside = [posixpath.join(source.path, name) for name in names]
    shards = [posixpath.join(source.path, source.images, "*.parquet")] if source.images else []
    flickr30k = [posixpath.join(source.flickr30k, "*.txt")] if source.flickr30k else []
    return [*inside, *shards, *flickr30k, *([source.karpathy] if source.karpathy else [])]


def read_source(source: SourceSettings) -> Iterator[dict[str, Any]]:
    """Yields the rows of one dataset, in the columns of its corpus's schema and in the order of its files.

    Every record of the files gives one row, and so does every image that only the annotations know: a record that
    cannot be used is a row with `keep = False`. Memory does not grow with the dataset: what must be grouped is grouped
    in a temporary file (see `index` and `sorting`). Image files are opened for their sizes alone, where
    no annotation file tells them. Raises InputError where a file or folder is missing, damaged or of another format.
    """
    yield from READERS[source.format].read(source)
