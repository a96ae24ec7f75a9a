"""The groups of settings that data are made with, from annotations to documents; defaults are the paper's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mmgic.settings.fields import Group, folder_name, number
from mmgic.settings.fields import path as folder_path
from mmgic.sources.formats import FORMATS

# What documents hold of an image: captions (C), labels (L) or those of objects alone (O), descriptions of labels (D),
# regions (R). COD is the comparison of D.3, the others are the rows of Table 1.
Recipe = Literal["C", "CL", "CLD", "CLDR", "LDR", "COD"]

if TYPE_CHECKING:
    FormatName = str
else:
    FormatName = Literal[tuple(FORMATS)]

# Appendix H.2, the system prompt of instruction rounds
SYSTEM_PROMPT = (
    "You are a helpful, respectful and honest assistant. Always answer as helpfully as possible, while being safe. "
    "Your answers should not include any harmful, unethical, racist, sexist, toxic, dangerous, or illegal content. "
    "Please ensure that your responses are socially unbiased and positive in nature"
)


@dataclass(frozen=True)
class SourceSettings(Group):
    """One dataset on disk. `path` is its folder; `mmgic.sources.formats` knows the files inside it by its `format`."""

    name: str = ""
    format: FormatName = "coco"
    path: str = folder_path()
    corpus: str = ""  # what a curriculum calls its documents; "": mmgic, ic, mmc4 or sft, by the format
    # file inside `path`, if the format names none itself; a name with *, "best | good", or "train + val"
    annotations: str = ""
    images: str = "images"  # image folder inside `path`, or several parted by |
    # regular expression of its images' names without folder and suffix; records of others are another dataset's
    image_names: str = ""
    captions: str = ""  # COCO-captions JSON inside `path`, or one for each annotation file; empty if there is none
    answers: str = ""  # annotations JSON of a vqav2 source
    karpathy: str = ""  # dataset_coco.json, for Visual Genome's split (F.2 step 7)
    flickr30k: str = ""  # folder of Flickr30k id lists (train.txt, val.txt, test.txt)
    # keep the images of Karpathy's val and restval. F.2 calls them validation data, though Table 13's counts fit only
    # with them; the benchmark MS-COCO-30K is drawn from their half of COCO (val2014)
    keep_validation: bool = False
    min_label_count: int = number(1, 0)  # F.2 step 1: V3Det 3, Visual Genome 2 (per label and synset), others 1
    sample: int = number(0, 0)  # how many of its usable records are taken, drawn by their ids; 0: all
    tasks: tuple[str, ...] = ()  # of instructions: the tasks (Table 16) whose records are used; empty: all
    choice_orders: int = number(1, 1, 10)  # A-OKVQA: in how many orders choices are listed, a record each
    repeats: int = number(1, 1)  # F.7: V3Det and Visual Genome 3
    attach_merged_attributes: bool = True  # Visual Genome: attributes of objects that v1.4 merged away
    keep_groups: bool = True  # Open Images: boxes around many instances (IsGroupOf)
    keep_depictions: bool = True  # Open Images: drawings and the like (IsDepiction)
    # Open Images with BigDetection's boxes as `annotations`: least IoU of a pair (F.1)
    min_pairing_iou: float = number(0.9, 0, 1)
    # Boxes and sizes count the pixels of photos that are turned as their EXIF tag says, as CVAT and others write them;
    # such photos are then read so everywhere. Otherwise pixels count as they are stored, as in COCO.
    upright: bool = False
    min_similarity: float = number(0.24, -1, 1)  # MMC4: CLIP's cosine of an image and its sentence, at least (C.6)
    description_field: str = "cat_info"  # V3Det: which of a category's descriptions is used


@dataclass(frozen=True)
class CleaningSettings(Group):
    """Appendix F.2."""

    min_short_side: int = number(224, 0)
    min_aspect: float = number(0.33, 0, 1)
    max_aspect: float = number(3.0, 1)
    min_attribute_count: int = number(5, 0)
    min_relationship_count: int = number(5, 0)
    box_tolerance: float = number(1.0, 0)  # pixels by which a box may leave its image before it is dropped


@dataclass(frozen=True)
class RegionSettings(Group):
    """Appendix F.3. Sides are in patches of the frame (28 and 182 pixels of 224 are 2 and 13 patches of 14)."""

    min_patches: float = number(2, 0, at_most="max_patches")
    max_patches: float = number(13, 0)
    merge_ioa: float = number(0.8, 0, 1)
    max_regions: int = number(2000, 1)  # of an image, drawn by their content; bounds the memory of a record
    keep_images_without: bool = False  # images that no region is left of, which the paper removes


@dataclass(frozen=True)
class CaptionSettings(Group):
    """Appendix F.4 and G.3."""

    synthesize: bool = True  # false: images go on with what captions came with the data, if any
    # whose images keep a caption that came with the data; IC's are filtered by theirs and then captioned anew (4.2)
    keep_given: tuple[Literal["mmgic", "ic"], ...] = ("mmgic",)
    merge: bool = True  # false: IC's web captions and short ones are not merged into detailed ones (G.3)
    blip2: str = ""  # Hugging Face BLIP-2 folder, with an OPT or a T5
    clip: str = ""  # CLIP folder, Hugging Face's or OpenCLIP's
    candidates: int = number(10, 1, 1000)
    rounds: int = number(10, 1, 1000)
    min_words: int = number(5, 0, at_most="max_words")
    max_words: int = number(25, 1)
    min_score: float = number(0.25, -1, 1)
    top_p: float = number(0.9, 0, 1)
    temperature: float = number(1.0, 0.01, 100)
    max_new_tokens: int = number(40, 1)
    images_per_batch: int = number(8, 1)  # images whose candidates are generated together
    dtype: Literal["float32", "bfloat16"] = "bfloat16"  # of BLIP-2; CLIP's scores decide and are computed in float32


@dataclass(frozen=True)
class LanguageModelSettings(Group):
    """An OpenAI-compatible server, hosted or a local vLLM; if `base_url` is empty no language model is asked."""

    base_url: str = ""  # such as http://127.0.0.1:8000/v1
    model: str = ""
    api_key_env: str = "OPENAI_API_KEY"  # the environment variable that holds the key
    temperature: float = number(0.0, 0, 2)
    max_tokens: int = number(256, 1)
    concurrency: int = number(8, 1, 4096)  # requests at once, of each worker
    requests_per_minute: int = number(0, 0)  # of all workers together; 0: no limit
    retries: int = number(5, 0, 100)
    timeout_s: float = number(60.0, 0.1)
    cache: str = "~/.cache/mmgic/language_model.sqlite"  # answers that were paid for; on a disk of the asking machine
    usd_per_million_prompt_tokens: float = number(0.0, 0)
    usd_per_million_completion_tokens: float = number(0.0, 0)


@dataclass(frozen=True)
class LabelSettings(Group):
    """Appendix F.5, and the names of polysemous labels (F.2, Visual Genome, step 3)."""

    wordnet: str = "/usr/share/wordnet"  # folder of WordNet 3.0's database files; Debian's wordnet-base has them here
    related: int = number(10, 0, 1000)  # objects, or pairs of them, named in a prompt for an attribute or relationship
    names: str = ""  # names.tsv of `mmgic describe-labels --names`: what label senses are called
    names_by_synset: bool = False  # do without `names`: senses are called by their synsets' names


@dataclass(frozen=True)
class PhraseSettings(Group):
    """Appendix G.2."""

    pipeline: str = "en_core_web_sm"  # a spaCy pipeline's name or folder
    min_count: int = number(20, 1)
    captions_per_phrase: int = number(50, 1)


@dataclass(frozen=True)
class DownloadSettings(Group):
    """Fetching images by url."""

    concurrency: int = number(64, 1, 4096)  # requests at once, of each worker
    per_host: int = number(4, 1)  # of these to one host
    retries: int = number(2, 0, 100)
    timeout_s: float = number(20.0, 0.1)
    backoff_s: float = number(1.0, 0)  # before the first retry; doubled before each further one
    max_bytes: int = number(20_000_000, 1)
    # share of unreachable hosts above which the network is taken to be down
    max_failure_rate: float = number(0.5, 0, 1)
    images_per_shard: int = number(1000, 1)  # rows that are fetched together and stored in one tar shard
    size_rules: bool = True  # hold image-caption pairs to cleaning's least side and aspect ratios, as F.2 does MMGIC's
    user_agent: str = "mmgic (image research; honours X-Robots-Tag noai)"
    allow_private_addresses: bool = False  # for a server of your own; never with a url list of strangers


@dataclass(frozen=True)
class InstructionSettings(Group):
    """Appendix H.1: how many samples are played back from MMGIC (the corpus `playback` of a curriculum), and drawn from
    LAION-COCO-Aesthetic (the corpus `aesthetic`)."""

    playback: int = number(1_000_000, 0)  # half of them image-first, half text-first
    aesthetic: int = number(1_000_000, 0)  # half of them as captioning, half as generation
    # set conversations aside that an earlier source has too (LLaVAR has LLaVA's); Table 14 counts them in both
    unique: bool = False


@dataclass(frozen=True)
class DocumentSettings(Group):
    """Appendix F.6, F.7 and C.6. Documents of another recipe lie beside those that are there; so do, under a name of
    their own, those of other templates or lengths. All read the same visual tokens."""

    recipe: Recipe = "CLDR"
    name: str = folder_name()  # a part of the names of their folders and of their store's
    max_tokens: int = number(2048, 1)
    image_first_prob: float = number(0.5, 0, 1)
    description_dropout: float = number(0.5, 0, 1)
    system_prompt: str = SYSTEM_PROMPT  # of instruction rounds (H.2)
    # C.6, MMC4's pages as MM-Interleaved makes them; `image_first_prob` says which images stand before their sentences
    page_images: int = number(6, 1)  # at most; they are drawn
    single_image_prob: float = number(0.5, 0, 1)  # that a page with one image is kept
    join_pages: bool = True  # several make one training sample, as long as `max_tokens` at most
