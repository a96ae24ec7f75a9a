"""The registry of formats: a row for each way in which a dataset lies on disk, with all that the platform asks of it.

A new format is its reader and a row here. A reader is a function of the source's settings that yields rows in the
columns of its corpus's schema. It is named as "module:function" below `mmgic.sources` and imported when a source is
read, so that the settings can check a format's name without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmgic.schema import AnnotatedImage, CaptionedImage, Corpus, Interleaved
    from mmgic.settings import SourceSettings


@dataclass(frozen=True)
class Format:
    """What is known of one format. `files` and `more_files` are names below the source's folder.

    The file's name itself may hold *. Of choices parted by | the first one that is there is read: they go from the
    format's own names to any file of their kind. All `files` are needed; a source's `annotations` stands for the first.
    """

    corpus: Corpus
    datasets: str  # that come in this format, for people
    reader: str
    files: tuple[str, ...] = ()
    more_files: tuple[str, ...] = ()  # read as well, if they are there
    image_names: str = ""  # regular expression of its images' names without suffix, if its files hold others' too
    by_url: bool = False  # images are named by url: they may have to be fetched, and another source may have them too
    filtered_caption: str = ""  # the column whose noun phrases decide about a row (G.2); "": the filter does not apply
    detailed: bool = False  # its captions are detailed ones that stay as they are (G.3)
    copied: bool = False  # other sources ship copies of its conversations
    noisy_labels: bool = False  # people wrote them freely: rare ones go (F.2), and a description may call them invalid
    descriptions: str = ""  # function that yields the descriptions that labels bring along (F.5), named as the reader
    pairs: bool = False  # its documents are an image and its caption each, in IC's template whatever the corpus (C.6)
    played_back: bool = False  # instruction tuning draws captioning and generation samples from it (H.1)
    terms: str = "see the source"  # of the data, as far as they are known; who publishes an export checks them there


# what several formats have alike
_CONCEPTUAL = "captions free to use with attribution; the images belong to their sites"
_ODC = "ODC-BY; the images belong to their sites"
_MMC4_SHARDS = ("docs_*shard_*.jsonl* | *.jsonl | *.jsonl.zip | *.jsonl.gz",)

FORMATS: dict[str, Format] = {
    # detection (F.1)
    "coco": Format(
        "mmgic",
        "COCO, Objects365 v1 and v2, BigDetection",
        "detection.coco:read_coco",
        terms="as the owner of the annotations states (COCO's own: CC BY 4.0); the photos keep their Flickr terms",
    ),
    "open_images": Format(
        "mmgic",
        "Open Images V4 to V7, with BigDetection's boxes if they are there",
        "detection.open_images:read_open_images",
        files=("*bbox.csv", "*class-descriptions*.csv"),
        more_files=(
            *("*vrd.csv", "*attributes-description*.csv", "*relationships-description*.csv"),
            *("*sizes*.csv", "*narratives*.jsonl"),
        ),
        image_names="[0-9a-f]{16}",
        terms="annotations CC BY 4.0; photos listed as CC BY 2.0",
    ),
    "v3det": Format(
        "mmgic",
        "V3Det",
        "detection.v3det:read_v3det",
        files=("annotations/v3det_2023_v1_*[nl].json",),  # train and val; the paper counts both together
        descriptions="detection.v3det:v3det_descriptions",
        terms="annotations CC BY 4.0; photos may not be passed on (Flickr terms)",
    ),
    "visual_genome": Format(
        "mmgic",
        "Visual Genome v1.4, with the attributes of v1.2",
        "detection.visual_genome:read_visual_genome",
        files=("image_data.json", "objects.json", "attributes.json", "relationships.json"),
        noisy_labels=True,
        terms="CC BY 4.0",
    ),
    # image-caption (G.1)
    "blip_captions": Format(
        "ic",
        "BLIP-Captions: CC3M, CC12M and SBU, LAION-115M",
        "captions.blip_captions:read_blip_captions",
        by_url=True,
        filtered_caption="caption_coco",
    ),
    "capsfusion": Format(
        "ic",
        "CapsFusion-120M",
        "captions.capsfusion:read_capsfusion",
        files=("capsfusion_*.parquet | *.parquet | capsfusion*.json | example_data*.json | *.json",),
        by_url=True,
        filtered_caption="caption_capsfusion",
    ),
    "laion_coco_aesthetic": Format(
        "ic",
        "LAION-COCO-Aesthetic",
        "captions.capsfusion:read_laion_coco_aesthetic",
        files=("laion-coco*.parquet | *.parquet",),
        by_url=True,
        played_back=True,
        terms="tagged Apache-2.0; the images belong to their sites",
    ),
    "journeydb": Format(
        "ic",
        "JourneyDB",
        "captions.journeydb:read_journeydb",
        files=("*anno*.jsonl | data/train/*anno*.jsonl",),
        detailed=True,
        terms="gated, non-commercial terms",
    ),
    "cc3m": Format(
        "ic",
        "Conceptual Captions 3M",
        "captions.caption_lists:read_cc3m",
        files=("*GCC-training.tsv | *.tsv",),
        by_url=True,
        terms=_CONCEPTUAL,
    ),
    "cc12m": Format(
        "ic",
        "Conceptual Captions 12M",
        "captions.caption_lists:read_cc12m",
        files=("cc12m.tsv | *.tsv",),
        by_url=True,
        terms=_CONCEPTUAL,
    ),
    "sbu": Format(
        "ic", "SBU Captions", "captions.caption_lists:read_sbu", files=("sbu-captions-all.json",), by_url=True
    ),
    "webdataset": Format(
        "ic",
        "shards of img2dataset",
        "captions.webdataset:read_webdataset",
        files=("*.tar | *.parquet",),
        by_url=True,
    ),
    # interleaved (C.6)
    "mmc4": Format("mmc4", "MMC4", "interleaved.mmc4:read_mmc4", files=_MMC4_SHARDS, by_url=True, terms=_ODC),
    "mmc4_pairs": Format(
        "mmc4",
        "MMC4, an image and its sentence each",
        "interleaved.mmc4:read_mmc4_pairs",
        files=_MMC4_SHARDS,
        by_url=True,
        pairs=True,
        terms=_ODC,
    ),
    # instructions (Table 14)
    "llava": Format(
        "sft",
        "LLaVA-150k and mix665k, LLaVAR, ShareGPT4V",
        "instructions.llava:read_llava",
        files=("llava*.json | share*.json | chat*.json | *.json",),
        copied=True,
    ),
    "unimm_chat": Format(
        "sft",
        "UniMM-Chat",
        "instructions.unimm_chat:read_unimm_chat",
        files=("*.parquet | data/*.parquet | [Uu]ni[Mm][Mm]*.json | *.json",),
        copied=True,
    ),
    "vqav2": Format(
        "sft",
        "VQAv2",
        "instructions.vqav2:read_vqav2",
        files=("v2_OpenEnded_mscoco_train2014_questions.json", "v2_mscoco_train2014_annotations.json"),
    ),
    "okvqa": Format(
        "sft",
        "OK-VQA",
        "instructions.vqav2:read_vqav2",
        files=("OpenEnded_mscoco_train2014_questions.json", "mscoco_train2014_annotations.json"),
    ),
    "gqa": Format(
        "sft",
        "GQA",
        "instructions.questions:read_gqa",
        files=("train_balanced_questions.json | train_all_questions/*.json",),
    ),
    "ocrvqa": Format("sft", "OCR-VQA", "instructions.questions:read_ocrvqa", files=("dataset.json",), by_url=True),
    "aokvqa": Format("sft", "A-OKVQA", "instructions.questions:read_aokvqa", files=("aokvqa_v1p0_train.json",)),
    "laion_gpt4v": Format(
        "sft",
        "LaionGPT4V",
        "instructions.captions:read_laion_gpt4v",
        files=("*.parquet | data/*.parquet | *gpt4v*.jsonl | *.jsonl",),
        by_url=True,
    ),
    "textcaps": Format(
        "sft", "TextCaps", "instructions.captions:read_textcaps", files=("TextCaps_0.1_train.json",), by_url=True
    ),
    "instructpix2pix": Format(
        "sft",
        "InstructPix2Pix",
        "instructions.editing:read_instructpix2pix",
        files=("seeds.json | *.parquet | data/*.parquet",),
    ),
    "magicbrush": Format(
        "sft",
        "MagicBrush",
        "instructions.editing:read_magicbrush",
        files=("train-*.parquet | data/train-*.parquet | *.parquet",),
        terms="CC BY 4.0",
    ),
    "alpaca": Format(
        "sft",
        "Alpaca",
        "instructions.texts:read_alpaca",
        files=("alpaca*.json | *.json",),
        copied=True,
        terms="CC BY-NC 4.0",
    ),
    "sharegpt": Format(
        "sft",
        "ShareGPT",
        "instructions.texts:read_sharegpt",
        files=("[Ss]hare[Gg][Pp][Tt]*.json | *.json",),
        copied=True,
    ),
}


def read_source(source: SourceSettings) -> Iterator[AnnotatedImage | CaptionedImage | Interleaved]:
    """Yields the rows of one dataset, in the columns of its corpus's schema and in the order of its files.

    Every record of the files gives one row, and so does every image that only the annotations know: a record that
    cannot be used is a row with `keep = False`. Memory does not grow with the dataset: what must be grouped is grouped
    in a temporary file (see `sources.reading.index` and `.sorting`). Image files are opened for their sizes alone,
    if no annotation file tells them. Records of other tasks than the source's `tasks` are set aside. Raises InputError
    if a file or folder is missing, damaged or of another format, or if `tasks` names what is no task of its records.
    """
    rows = _function(FORMATS[source.format].reader)(source)
    if not source.tasks:
        yield from rows
        return
    from mmgic.sources.tasks import of_tasks  # the settings, which read this registry, do without Arrow

    yield from of_tasks(rows, source)


def label_descriptions(source: SourceSettings) -> Iterator[dict[str, str]]:
    """Rows {source, kind, label, description} of the labels that bring their description along; none in most formats.

    Raises InputError like `read_source`.
    """
    if name := FORMATS[source.format].descriptions:
        yield from _function(name)(source)


def _function(name: str) -> Callable[[SourceSettings], Iterator[Any]]:
    found: Callable[[SourceSettings], Iterator[Any]] = resolve_name(f"mmgic.sources.{name}")
    return found
