"""The groups of settings that models are trained, run and scored with; defaults are the paper's if it gives them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mmgic.settings.fields import Group, folder_name, free, number, open_number, path


@dataclass(frozen=True)
class VisionSettings(Group):
    """The visual tokenizer that turns images into codes."""

    checkpoint: str = path()  # folder of a visual tokenizer, in any layout of mmgic.vision.folders
    pixels: str = path()  # folder of the pixel decoder for its codes, for the report's pictures; "" shows none
    selection: Literal["gumbel", "argmax"] = "gumbel"
    batch_size: int = number(64, 1)  # crops per forward pass
    dtype: Literal["float32", "bfloat16"] = "float32"
    compile: bool = False  # the model through torch.compile: a minute at the start of each worker, then faster


@dataclass(frozen=True)
class ModelSettings(Group):
    """The language model and what of it is trained (Sections 3.1 and D.1)."""

    llm: str = path()  # a Hugging Face folder of a Llama, Mistral or Qwen3 with its tokenizer
    lora_rank: int = number(64, 0, 4096)
    lora_alpha: int = number(128, 1)
    lora_dropout: float = number(0.0, 0, 1)
    dtype: Literal["float32", "bfloat16"] = "bfloat16"


@dataclass(frozen=True)
class LossSettings(Group):
    """Appendix E.1: L = visual_weight * L_V + L_T."""

    visual_weight: float = number(0.1, 0)
    mask_prob: float = number(0.9, 0, 1)


@dataclass(frozen=True)
class RunSettings(Group):
    """Where a Ray Train run lies and how it survives failures; it belongs to the settings of every one."""

    name: str = folder_name(free=True)  # its folder under <output>/training
    checkpoint_every: int = number(500, 1, free=True)  # steps
    keep_checkpoints: int = number(2, 1, free=True)
    # where checkpoints lie: a folder that all workers see, or a url such as s3://bucket/runs; "": in the run's folder
    checkpoints: str = path()
    max_failures: int = number(3, -1, free=True)  # restarts after a worker or its node was lost; -1: any number
    # a worker that makes no step for as long is reported with what it is doing; 0: never
    still_minutes: float = number(15, 0, free=True)
    wandb: str = free("")  # project in Weights & Biases that gets each step's figures; "": none


@dataclass(frozen=True)
class StageSettings(Group):
    """What one stage of a curriculum has of its own among `TrainingSettings`; what is open (null) is the run's."""

    epochs: float | None = open_number(0)
    max_steps: int | None = open_number(0)
    batch_size: int | None = open_number(1)
    learning_rate: float | None = open_number(0)
    min_lr_ratio: float | None = open_number(0, 1)
    warmup_ratio: float | None = open_number(0, 1)
    weight_decay: float | None = open_number(0)


@dataclass(frozen=True)
class TrainingSettings(RunSettings):
    """Table 10. `batch_size` counts samples (documents) of one optimizer step over all workers."""

    name: str = folder_name("pretrain", free=True)
    # what is trained further: the folder of a run, or of an exported model; "": model.llm as it is
    start: str = path()
    # a token store elsewhere, in a folder or at a url that each machine copies once to its TMPDIR; "": the run's own
    store: str = path()
    curriculum: str = "mmgic"
    # each stage of the curriculum with a warm-up, cosine and optimizer of its own, or one of each over all stages
    schedule: Literal["per_stage", "whole"] = "per_stage"
    stages: tuple[StageSettings, ...] = ()  # one for each stage of the curriculum, or none
    epochs: float = number(1.0, 0)  # passes of each stage
    max_steps: int = number(0, 0)  # of each stage; 0: as many as the epochs need
    batch_size: int = number(512, 1)
    # most tokens of the whole documents that a worker computes at once; they do not see each other
    # (6144: MMGIC's 17,600 tokens a step and worker of 32 fill three of them)
    micro_batch_tokens: int = number(6144, 16, free=True)
    learning_rate: float = number(2e-4, 0)
    min_lr_ratio: float = number(0.1, 0, 1)
    warmup_ratio: float = number(0.1, 0, 1)
    weight_decay: float = number(0.05, 0)
    # of token embeddings and codebook: with 0.05 rows that no document touches would lose 42 % of their length over IC
    embedding_decay: float = number(0.0, 0)
    adam_beta1: float = number(0.9, 0, below=1)
    adam_beta2: float = number(0.95, 0, below=1)
    grad_clip: float = number(1.0, 0)
    # what becomes of a step whose loss or gradient is not finite, or whose gradient is too large; its records are noted
    on_bad_step: Literal["stop", "skip"] = free("stop")
    grad_norm_limit: float = number(100, 0, free=True)  # times the median of the 100 norms before; 0: any norm will do
    # 1 shards AdamW's state over the workers; 2 their gradients too, which it reduces after every micro batch, not once
    # a step
    zero_stage: Literal[0, 1, 2] = free(1)
    # share of the layers whose activations are computed again in the backward pass: 0 is fastest, 1 takes least memory
    gradient_checkpointing: float = number(0.0, 0, 1, free=True)
    # the layers through torch.compile: minutes at the start of each worker, then faster; auto: if they are on a GPU
    compile: Literal["auto", "always", "never"] = free("auto")


TokenizerStage = Literal["continuous", "quantized", "decoder"]


@dataclass(frozen=True)
class TokenizerTraining(RunSettings):
    """Training of a visual tokenizer on a frozen image encoder. Stages, losses and the codebook's recipe are LaVIT's;
    its step counts and rates were never published, so these are ours."""

    name: str = folder_name("tokenizer", free=True)
    images: str = path()  # a folder of images at any depth, or a finished stage's table that names them
    encoder: str = path()  # folder of the frozen encoder: a tokenizer's, LaVIT's, or the toy CLIP's
    start: str = path()  # folder of a tokenizer with this encoder to go on from; "": new weights
    held_out: int = number(1000, 1)  # images that the result's figures are measured on; a tenth of all at most
    cache: bool = False  # encode every image once, into features.npy (2 bytes a number), not at every step
    continuous_steps: int = number(50_000, 0)
    quantized_steps: int = number(100_000, 0)
    decoder_steps: int = number(0, 0)  # of LaVIT's decoder, on codes that no longer change; if `decoder` is another
    batch_size: int = number(1024, 1)  # images of one step over all workers
    learning_rate: float = number(2e-4, 1e-12, 10)
    warmup_steps: int = number(50, 1)
    weight_decay: float = number(0.01, 0, 10)
    keep_ratio: float = number(1 / 3, above=0, below=1)
    keep_weight: float = number(20.0, 0)
    commitment_weight: float = number(0.25, 0)
    codebook_decay: float = number(0.99, 0, 1)
    vectors_per_code: int = number(40, 1)  # that k-means starts from
    kmeans_rounds: int = number(10, 0)
    revive_every: int = number(25, 1)  # steps between looks for rows that nothing chooses
    # "lavit": LaVIT's own decoder, which is told a code's rank alone; "places": a small one that knows codes' patches
    decoder: Literal["lavit", "places"] = "lavit"
    decoder_depth: int = number(12, 1)
    # what is rebuilt: the encoder's patch features, or what the encoder's own head reads from them, standardised
    target: Literal["features", "head"] = "features"
    dtype: Literal["float32", "bfloat16"] = "bfloat16"  # that encoder, merger and decoder compute in
    checkpoint_every: int = number(1000, 1, free=True)

    @property
    def steps(self) -> int:
        return self.continuous_steps + self.quantized_steps + self.decoder_steps

    def stage(self, step: int) -> tuple[TokenizerStage, int, int]:
        """The stage of the 0-based `step`, the stage's first step, and its number of steps."""
        if step < self.continuous_steps:
            return "continuous", 0, self.continuous_steps
        if step < self.continuous_steps + self.quantized_steps:
            return "quantized", self.continuous_steps, self.quantized_steps
        return "decoder", self.continuous_steps + self.quantized_steps, self.decoder_steps


@dataclass(frozen=True)
class PixelTraining(RunSettings):
    """Training of a pixel decoder on a tokenizer's codes. The defaults suit a UNet that was trained before; LaVIT's own
    were never published."""

    name: str = folder_name("pixels", free=True)
    images: str = path()  # as tokenizer_training.images, which is taken if this is empty
    tokenizer: str = path()  # folder of the tokenizer, which stays as it is; "": what tokenizer_training made
    start: str = path()  # folder of the pixel decoder to begin with: decoder, UNet, autoencoder and scheduler
    steps: int = number(100_000, 1)
    batch_size: int = number(256, 1)  # images of one step over all workers
    micro_batch: int = number(8, 1, free=True)  # images that a worker computes at once: memory alone
    learning_rate: float = number(1e-4, 1e-12, 10)
    warmup_steps: int = number(1000, 1)
    weight_decay: float = number(0.01, 0, 10)
    unconditional_share: float = number(0.1, 0, 1)
    dtype: Literal["float32", "bfloat16"] = "bfloat16"


@dataclass(frozen=True)
class BenchmarkSettings(Group):
    """One benchmark on disk; `mmgic score --help` lists the names, `mmgic score NAME --help` what its files are."""

    name: str = ""
    files: tuple[str, ...] = ()  # annotation files
    images: str = ""  # folder of its images; "" if there are none, or its files hold them


@dataclass(frozen=True)
class EvaluationSettings(Group):
    """Appendix E.2."""

    engine: Literal["transformers", "vllm"] = "vllm"
    prompt: Literal["auto", "mmgic", "ic", "mmc4", "sft"] = (
        "auto"  # whose template asks for captions; auto: the model's own
    )
    benchmarks: tuple[BenchmarkSettings, ...] = ()
    template: str = (
        "table 16"  # that choices are put in, or "all": what each scores stands below the first one's scores
    )
    max_images: int = number(0, 0)  # items of each part's first images, or as many without an image; 0: all
    max_new_tokens: int = number(64, 1)
    batch_size: int = number(32, 1)
