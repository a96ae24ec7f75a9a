"""Settings of every job: frozen dataclasses whose defaults are the paper's.

A job's settings are a preset (`mmgic.presets`), then a YAML file over it, then `a.b=value` overrides. An unknown key, a
value of the wrong type or a value outside its range is refused with one sentence that names the nearest valid key.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import operator
import re
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import yaml

from mmgic.sources.formats import FORMATS

Recipe = Literal["C", "CL", "CLD", "CLDR", "LDR"]

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


class SettingsError(ValueError):
    """The settings cannot be used; the message says which key is wrong and what to write instead."""


@dataclass(frozen=True)
class SourceSettings:
    """One dataset on disk. `path` is its folder; `mmgic.sources.formats` knows the files inside it by its `format`."""

    name: str = ""
    format: FormatName = "coco"
    path: str = ""
    corpus: str = ""  # what a curriculum calls its documents; "": mmgic, ic, mmc4 or sft, by the format
    annotations: str = ""  # file inside `path`, where the format names none itself; a name with *, or "best | good"
    images: str = "images"  # image folder inside `path`
    captions: str = ""  # COCO-captions JSON inside `path`; empty where the source has none
    answers: str = ""  # annotations JSON of a vqav2 source
    karpathy: str = ""  # dataset_coco.json, for Visual Genome's split (F.2 step 7)
    flickr30k: str = ""  # folder of Flickr30k id lists (train.txt, val.txt, test.txt)
    min_label_count: int = 1  # F.2 step 1: V3Det 3, Visual Genome 2 (per label and synset), others 1
    repeats: int = 1  # F.7: V3Det and Visual Genome 3
    attach_merged_attributes: bool = True  # Visual Genome: attributes of objects that v1.4 merged away
    keep_groups: bool = True  # Open Images: boxes around many instances (IsGroupOf)
    keep_depictions: bool = True  # Open Images: drawings and the like (IsDepiction)
    min_pairing_iou: float = 0.9  # Open Images with BigDetection's boxes as `annotations`: least IoU of a pair (F.1)
    description_field: str = "cat_info"  # V3Det: which of a category's descriptions is used


@dataclass(frozen=True)
class CleaningSettings:
    """Appendix F.2."""

    min_short_side: int = 224
    min_aspect: float = 0.33
    max_aspect: float = 3.0
    min_attribute_count: int = 5
    min_relationship_count: int = 5
    box_tolerance: float = 1.0  # pixels by which a box may leave its image before it is dropped


@dataclass(frozen=True)
class RegionSettings:
    """Appendix F.3. Sides are in patches of the frame (28 and 182 pixels of 224 are 2 and 13 patches of 14)."""

    min_patches: float = 2
    max_patches: float = 13
    merge_ioa: float = 0.8


@dataclass(frozen=True)
class CaptionSettings:
    """Appendix F.4. Where `blip2` is empty, images without a caption go on without one."""

    blip2: str = ""  # Hugging Face BLIP-2 folder, with an OPT or a T5
    clip: str = ""  # Hugging Face CLIP folder
    candidates: int = 10
    rounds: int = 10
    min_words: int = 5
    max_words: int = 25
    min_score: float = 0.25
    top_p: float = 0.9
    temperature: float = 1.0
    max_new_tokens: int = 40
    images_per_batch: int = 8  # images whose candidates are generated together
    dtype: Literal["float32", "bfloat16"] = "bfloat16"  # of BLIP-2; CLIP's scores decide and are computed in float32


@dataclass(frozen=True)
class LanguageModelSettings:
    """An OpenAI-compatible server, hosted or a local vLLM; where `base_url` is empty no language model is asked."""

    base_url: str = ""  # such as http://127.0.0.1:8000/v1
    model: str = ""
    api_key_env: str = "OPENAI_API_KEY"  # the environment variable that holds the key
    temperature: float = 0.0
    max_tokens: int = 256
    concurrency: int = 8
    requests_per_minute: int = 0  # 0: no limit
    retries: int = 5
    timeout_s: float = 60.0
    cache: str = "~/.cache/mmgic/language_model.sqlite"  # answers that were paid for; on a disk of the asking machine
    usd_per_million_prompt_tokens: float = 0.0
    usd_per_million_completion_tokens: float = 0.0


@dataclass(frozen=True)
class LabelSettings:
    """Appendix F.5, and the names of polysemous labels (F.2, Visual Genome, step 3)."""

    wordnet: str = "/usr/share/wordnet"  # folder of WordNet 3.0's database files; Debian's wordnet-base has them here
    related: int = 10  # objects, or pairs of objects, that a prompt names beside an attribute or a relationship
    names: str = ""  # names.tsv of jobs/describe_labels.py --names: what label senses are called; "": by their synsets


@dataclass(frozen=True)
class PhraseSettings:
    """Appendix G.2."""

    pipeline: str = "en_core_web_sm"  # a spaCy pipeline's name or folder
    min_count: int = 20
    captions_per_phrase: int = 50


@dataclass(frozen=True)
class DownloadSettings:
    """Fetching images by url."""

    concurrency: int = 64  # requests at once, of each worker
    per_host: int = 4  # of these to one host
    retries: int = 2
    timeout_s: float = 20.0
    backoff_s: float = 1.0  # before the first retry; doubled before each further one
    max_bytes: int = 20_000_000
    max_failure_rate: float = 0.5  # share of unreachable hosts above which the network is taken to be down
    images_per_shard: int = 1000  # rows that are fetched together and stored in one tar shard
    size_rules: bool = True  # hold image-caption pairs to cleaning's least side and aspect ratios, as F.2 does MMGIC's
    user_agent: str = "mmgic (image research; honours X-Robots-Tag noai)"
    allow_private_addresses: bool = False  # for a server of your own; never with a url list of strangers


@dataclass(frozen=True)
class InstructionSettings:
    """Appendix H.1: how many samples are played back from MMGIC, and drawn from LAION-COCO-Aesthetic."""

    playback: int = 1_000_000  # half of them image-first, half text-first
    aesthetic: int = 1_000_000  # half of them as captioning, half as generation


@dataclass(frozen=True)
class VisionSettings:
    """The visual tokenizer that turns images into codes."""

    checkpoint: str = ""  # folder with config.json and model.safetensors
    pixels: str = ""  # folder of the pixel decoder for its codes, for the report's pictures; "" shows none
    selection: Literal["gumbel", "argmax"] = "gumbel"
    batch_size: int = 64  # crops per forward pass
    dtype: Literal["float32", "bfloat16"] = "float32"
    compile: bool = False  # the model through torch.compile: a minute at the start of each worker, then faster


@dataclass(frozen=True)
class DocumentSettings:
    """Appendix F.6 and F.7."""

    recipe: Recipe = "CLDR"
    max_tokens: int = 2048
    image_first_prob: float = 0.5
    description_dropout: float = 0.5
    system_prompt: str = SYSTEM_PROMPT  # of instruction rounds (H.2)


@dataclass(frozen=True)
class ModelSettings:
    """The language model and what of it is trained (Sections 3.1 and D.1)."""

    llm: str = ""  # a Hugging Face Llama folder with its tokenizer
    lora_rank: int = 64
    lora_alpha: int = 128
    lora_dropout: float = 0.0
    dtype: Literal["float32", "bfloat16"] = "bfloat16"


@dataclass(frozen=True)
class LossSettings:
    """Appendix E.1: L = visual_weight * L_V + L_T."""

    visual_weight: float = 0.1
    mask_prob: float = 0.9


@dataclass(frozen=True)
class TrainingSettings:
    """Table 10. `batch_size` counts samples (documents) of one optimizer step over all workers."""

    curriculum: str = "mmgic"
    epochs: float = 1.0
    max_steps: int = 0  # 0: as many as the epochs need
    batch_size: int = 512
    # a micro batch holds up to pack_tokens * rows_per_micro_batch tokens of whole documents that do not see each other
    pack_tokens: int = 2048
    rows_per_micro_batch: int = 4
    learning_rate: float = 2e-4
    min_lr_ratio: float = 0.1
    warmup_ratio: float = 0.1
    weight_decay: float = 0.05
    adam_beta1: float = 0.9
    adam_beta2: float = 0.95
    grad_clip: float = 1.0
    zero_stage: Literal[0, 1, 2] = 2
    gradient_checkpointing: bool = False
    checkpoint_every: int = 500
    keep_checkpoints: int = 2
    max_failures: int = 3
    name: str = "pretrain"


@dataclass(frozen=True)
class EvaluationSettings:
    """Appendix E.2."""

    engine: Literal["transformers", "vllm"] = "vllm"
    captions: str = ""  # COCO-captions JSON with the references
    caption_images: str = ""  # folder of its images
    pope: tuple[str, ...] = ()  # POPE files
    pope_images: str = ""
    max_images: int = 0  # 0: all
    max_new_tokens: int = 64
    batch_size: int = 32


@dataclass(frozen=True)
class ClusterSettings:
    """Where work runs. Counts are actors or training workers; a GPU count of 0 means CPU workers."""

    data_workers: int = 8
    tokenizer_workers: int = 8
    tokenizer_gpus: float = 1.0
    training_workers: int = 32
    training_gpus: float = 1.0
    rows_per_block: int = 2000
    max_error_rate: float = 0.05  # rejected share of rows above which a data stage stops with a message


@dataclass(frozen=True)
class ToySettings:
    """The generated world that the toy presets run on."""

    scenes: int = 0  # 0: the run uses real data
    seed: int = 0


@dataclass(frozen=True)
class Settings:
    """Everything one run needs. `output` is any fsspec path; each stage writes a folder under it."""

    preset: str = "mmgic-7b"
    output: str = "output"
    seed: int = 0
    toy: ToySettings = field(default_factory=ToySettings)
    sources: tuple[SourceSettings, ...] = ()
    descriptions: str = ""  # label descriptions, as jobs/describe_labels.py writes them
    cleaning: CleaningSettings = field(default_factory=CleaningSettings)
    regions: RegionSettings = field(default_factory=RegionSettings)
    captions: CaptionSettings = field(default_factory=CaptionSettings)
    language_model: LanguageModelSettings = field(default_factory=LanguageModelSettings)
    labels: LabelSettings = field(default_factory=LabelSettings)
    phrases: PhraseSettings = field(default_factory=PhraseSettings)
    download: DownloadSettings = field(default_factory=DownloadSettings)
    instructions: InstructionSettings = field(default_factory=InstructionSettings)
    vision: VisionSettings = field(default_factory=VisionSettings)
    documents: DocumentSettings = field(default_factory=DocumentSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)


BELOW_1 = math.nextafter(1, 0)  # where 1 itself makes no sense

# key -> (lowest, highest) value that makes sense, of every number; checked at every merge. In a list: of each element.
RANGES: dict[str, tuple[float, float]] = {
    "seed": (0, math.inf),
    "toy.seed": (0, math.inf),
    "sources.min_label_count": (0, math.inf),
    "sources.repeats": (1, math.inf),
    "sources.min_pairing_iou": (0, 1),
    "cleaning.min_short_side": (0, math.inf),
    "cleaning.min_attribute_count": (0, math.inf),
    "cleaning.min_relationship_count": (0, math.inf),
    "cleaning.box_tolerance": (0, math.inf),
    "cleaning.min_aspect": (0, 1),
    "cleaning.max_aspect": (1, math.inf),
    "regions.min_patches": (0, math.inf),
    "regions.max_patches": (0, math.inf),
    "regions.merge_ioa": (0, 1),
    "language_model.temperature": (0, 2),
    "language_model.max_tokens": (1, math.inf),
    "language_model.concurrency": (1, 4096),
    "language_model.requests_per_minute": (0, math.inf),
    "language_model.retries": (0, 100),
    "language_model.timeout_s": (0.1, math.inf),
    "language_model.usd_per_million_prompt_tokens": (0, math.inf),
    "language_model.usd_per_million_completion_tokens": (0, math.inf),
    "labels.related": (0, 1000),
    "captions.candidates": (1, 1000),
    "captions.rounds": (1, 1000),
    "captions.min_words": (0, math.inf),
    "captions.max_words": (1, math.inf),
    "captions.min_score": (-1, 1),
    "captions.top_p": (0, 1),
    "captions.temperature": (0.01, 100),
    "captions.max_new_tokens": (1, math.inf),
    "captions.images_per_batch": (1, math.inf),
    "instructions.playback": (0, math.inf),
    "instructions.aesthetic": (0, math.inf),
    "vision.batch_size": (1, math.inf),
    "documents.max_tokens": (16, 1 << 20),
    "documents.image_first_prob": (0, 1),
    "documents.description_dropout": (0, 1),
    "download.concurrency": (1, 4096),
    "download.per_host": (1, math.inf),
    "download.retries": (0, 100),
    "download.timeout_s": (0.1, math.inf),
    "download.backoff_s": (0, math.inf),
    "download.max_bytes": (1, math.inf),
    "download.max_failure_rate": (0, 1),
    "download.images_per_shard": (1, math.inf),
    "loss.mask_prob": (0, 1),
    "loss.visual_weight": (0, math.inf),
    "training.batch_size": (1, math.inf),
    "training.pack_tokens": (16, math.inf),
    "training.rows_per_micro_batch": (1, math.inf),
    "training.learning_rate": (0, math.inf),
    "training.min_lr_ratio": (0, 1),
    "training.warmup_ratio": (0, 1),
    "training.epochs": (0, math.inf),
    "training.max_steps": (0, math.inf),
    "training.weight_decay": (0, math.inf),
    "training.adam_beta1": (0, BELOW_1),
    "training.adam_beta2": (0, BELOW_1),
    "training.grad_clip": (0, math.inf),
    "training.checkpoint_every": (1, math.inf),
    "training.keep_checkpoints": (1, math.inf),
    "training.max_failures": (-1, math.inf),  # -1: any number
    "model.lora_rank": (0, 4096),
    "model.lora_alpha": (1, math.inf),
    "model.lora_dropout": (0, 1),
    "evaluation.max_images": (0, math.inf),
    "evaluation.max_new_tokens": (1, math.inf),
    "evaluation.batch_size": (1, math.inf),
    "cluster.data_workers": (1, math.inf),
    "cluster.tokenizer_workers": (1, math.inf),
    "cluster.tokenizer_gpus": (0, math.inf),
    "cluster.training_workers": (0, math.inf),
    "cluster.training_gpus": (0, math.inf),
    "cluster.rows_per_block": (1, math.inf),
    "cluster.max_error_rate": (0, 1),
    "phrases.min_count": (1, math.inf),
    "phrases.captions_per_phrase": (1, math.inf),
    "toy.scenes": (0, math.inf),
}

# pairs of keys of which the first must not exceed the second; checked once all merges are done
ORDERED = (
    ("captions.min_words", "captions.max_words"),
    ("regions.min_patches", "regions.max_patches"),
)

EXAMPLE = "write lines such as 'training: {batch_size: 512}'"

T = TypeVar("T")


def merge(settings: T, changes: Mapping[str, Any], where: str = "") -> T:
    """Returns `settings` (a frozen dataclass) with the nested `changes` applied and checked.

    Raises SettingsError for an unknown key, a wrong type or a value outside RANGES.
    """
    hints = typing.get_type_hints(type(settings))
    updates = {}
    for key, value in changes.items():
        name = f"{where}{key}"
        if key not in hints:
            near = difflib.get_close_matches(str(key), hints, n=1, cutoff=0.0)
            raise SettingsError(f"unknown setting '{name}'; did you mean '{where}{near[0]}'?")
        updates[key] = _convert(value, hints[key], name, getattr(settings, key))
    return dataclasses.replace(settings, **updates)  # type: ignore[type-var]


def check_ranges(settings: Any, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Raises SettingsError where a field of `settings` is no number of its range; nan never is."""
    for name, (low, high) in ranges.items():
        value = getattr(settings, name)
        if not low <= value <= high:
            limits = f"be at least {low:g}" if high == math.inf else f"lie between {low:g} and {high:g}"
            raise SettingsError(f"'{name}' is {value}; it must {limits}")


def _convert(value: Any, kind: Any, name: str, current: Any) -> Any:
    """Checks that `value` fits the annotation `kind`; strings from the command line arrive already parsed as YAML."""
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise SettingsError(f"'{name}' is a group of settings; write {name}.<key>=<value>")
        return merge(current if current is not None else kind(), value, f"{name}.")  # type: ignore[operator]
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        if value not in arguments:
            near = difflib.get_close_matches(str(value), map(str, arguments), n=1, cutoff=0.0)
            options = ", ".join(map(str, arguments))
            raise SettingsError(f"'{name}' is {value!r}; it takes one of {options} (nearest: {near[0]})")
        return value
    if origin is tuple:
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise SettingsError(f"'{name}' takes a list, not {value!r}")
        return tuple(_convert(item, arguments[0], f"{name}[{i}]", None) for i, item in enumerate(value))
    if kind is float and isinstance(value, str):
        # YAML 1.1 reads 2e-4 as text
        try:
            value = float(value)
        except ValueError:
            raise SettingsError(f"'{name}' takes a number, not {value!r}") from None
    accepted: tuple[type, ...] = (int, float) if kind is float else (kind,)
    if isinstance(value, bool) is not (kind is bool) or not isinstance(value, accepted):
        raise SettingsError(f"'{name}' takes {_noun(kind)}, not {value!r}")
    if isinstance(value, (int, float)) and (limits := RANGES.get(re.sub(r"\[\d+\]", "", name))):
        low, high = limits
        if not low <= value <= high:
            raise SettingsError(f"'{name}' is {value}; it must lie between {low:g} and {high:g}")
    return kind(value)


def _noun(kind: type) -> str:
    return {int: "a whole number", float: "a number", str: "text", bool: "true or false"}[kind]


def load_settings(base: Settings, config: str | Path | None = None, overrides: Sequence[str] = ()) -> Settings:
    """Returns `base` with the YAML file `config` and then the `a.b=value` `overrides` applied.

    A text setting may begin with "{output}", which stands for the output folder. Raises SettingsError with one sentence
    for anything that cannot be used.
    """
    if config:
        try:
            loaded = yaml.safe_load(Path(config).read_text(encoding="utf-8"))
        except OSError as error:
            raise SettingsError(f"cannot read the settings file {config}: {error.strerror}") from None
        except (yaml.YAMLError, UnicodeDecodeError):
            raise SettingsError(
                f"{config} is not a YAML file; write lines such as 'training: {{batch_size: 512}}'"
            ) from None
        if not isinstance(loaded, Mapping):
            raise SettingsError(f"{config} holds no settings; write lines such as 'training: {{batch_size: 512}}'")
        base = merge(base, loaded)
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator:
            raise SettingsError(f"'{override}' is no override; write --set {override or 'a.b'}=value")
        try:
            value = yaml.safe_load(text) if text else ""
        except yaml.YAMLError:
            value = text
        nested: Any = value
        for part in reversed(key.strip().split(".")):
            nested = {part: nested}
        if _leaf_type(type(base), key.strip()) is str and not isinstance(value, str):
            nested = _replace_leaf(nested, text)
        base = merge(base, nested)
    _check(base)
    return _expand_output(base, base.output)


def _check(settings: Settings) -> None:
    """The rules that are not of one number. Raises SettingsError."""
    if not settings.output.strip():
        raise SettingsError("'output' is empty; set it to the folder where the run writes its tables")
    for smaller, larger in ORDERED:
        low, high = operator.attrgetter(smaller, larger)(settings)
        if low > high:
            raise SettingsError(f"'{smaller}' is {low} and '{larger}' is {high}; the first may not exceed the second")


def _expand_output(value: T, output: str) -> T:
    if isinstance(value, str):
        return value.replace("{output}", output)  # type: ignore[return-value]
    if isinstance(value, tuple):
        return tuple(_expand_output(item, output) for item in value)  # type: ignore[return-value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _expand_output(getattr(value, f.name), output) for f in dataclasses.fields(value)}
        return dataclasses.replace(value, **fields)
    return value


def _leaf_type(kind: Any, key: str) -> Any:
    """The annotation of the setting `key`, or None where there is no such setting."""
    for part in key.split("."):
        kind = typing.get_type_hints(kind).get(part) if dataclasses.is_dataclass(kind) else None
    return kind


def _replace_leaf(nested: Any, leaf: Any) -> Any:
    return {k: _replace_leaf(v, leaf) for k, v in nested.items()} if isinstance(nested, dict) else leaf


def to_yaml(settings: Settings) -> str:
    """The effective settings as YAML that `load_settings` reads back to the same settings."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        return [plain(v) for v in value] if isinstance(value, (tuple, list)) else value

    return yaml.safe_dump(plain(dataclasses.asdict(settings)), sort_keys=False)
