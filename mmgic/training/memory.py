"""What a training worker's device holds at the highest point of a step, from the settings alone: known, and compared
with the card, before anything starts.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig

from mmgic.model.llama_config import load_llama_config
from mmgic.model.loss import ALIGNED, LOGITS_AT_ONCE
from mmgic.model.pretrained import TABLES
from mmgic.model.vl_llama import LORA_TARGETS, trained_count
from mmgic.model.vocabulary import VLVocabulary
from mmgic.settings import Settings, SettingsError
from mmgic.training.engine import BUCKET

GB = 1e9
RESERVED = 1.5e9  # of a card: CUDA's context, NCCL, and what the allocator rounds up
_FLOAT = 4  # bytes


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes. Kernels that `torch.compile` fuses keep fewer activations than are counted here."""

    frozen_weights: int
    trained_weights: int  # float32, and their copies in the type that is computed in
    gradients: int
    optimizer: int  # this worker's shard of AdamW's master weights and moments
    buckets: int  # in which ZeRO reduces gradients
    activations: int  # of one micro batch, kept for the backward pass
    working: int  # the head's copy, gradient and logits of a chunk; or one layer that is computed again, if it is more

    @property
    def total(self) -> int:
        return sum(getattr(self, field.name) for field in fields(self))

    def __str__(self) -> str:
        parts = (f"{field.name.replace('_', ' ')} {getattr(self, field.name) / GB:.1f}" for field in fields(self))
        return f"{self.total / GB:.1f} GB: {', '.join(parts)}"


def estimate_memory(
    settings: Settings, config: PreTrainedConfig, vocabulary: VLVocabulary, code_width: int
) -> MemoryEstimate:
    """Of a worker of `settings`, for a decoder of `config` and codes of `code_width` numbers."""
    training, workers = settings.training, max(1, settings.cluster.training_workers)
    size = 2 if settings.model.dtype == "bfloat16" else _FLOAT
    with torch.device("meta"):
        decoder = AutoModelForCausalLM.from_config(config)
    matrices = {n: p.shape for n, p in decoder.named_parameters() if p.ndim > 1 and n not in TABLES}
    trained = trained_count(config, vocabulary, code_width, settings.model.lora_rank)
    lora = settings.model.lora_rank * sum(sum(s) for n, s in matrices.items() if n.split(".")[-2] in LORA_TARGETS)
    shards = workers if training.zero_stage else 1
    padded = -(-vocabulary.size // ALIGNED) * ALIGNED * config.hidden_size
    logits = min(LOGITS_AT_ONCE, training.micro_batch_tokens * vocabulary.size)
    head = (2 * size + _FLOAT) * padded + (size + 2 * _FLOAT) * logits
    kept, again = _activations(settings, config, size)
    return MemoryEstimate(
        frozen_weights=size * sum(shape.numel() for shape in matrices.values()),
        trained_weights=_FLOAT * trained + (size * lora if size < _FLOAT else 0),
        gradients=_FLOAT * (trained if training.zero_stage < 2 else -(-trained // shards)),
        # the master weights are ZeRO's; it also keeps what was reduced of the gradients in its shard
        optimizer=_FLOAT * (4 if training.zero_stage else 2) * -(-trained // shards),
        buckets=_FLOAT * 2 * min(BUCKET, trained) if training.zero_stage else 0,
        activations=kept,
        working=max(head, again),
    )


def _activations(settings: Settings, config: PreTrainedConfig, size: int) -> tuple[int, int]:
    """What the layers keep of a micro batch for the backward pass, and what one of them has while it is computed again;
    numbers of `size` bytes."""
    hidden, rank = config.hidden_size, settings.model.lora_rank
    width = getattr(config, "head_dim", None) or hidden // config.num_attention_heads
    queries, keys = config.num_attention_heads * width, config.num_key_value_heads * width
    # of each of two norms: its input and what it divides by in float32, what is scaled, and its output
    norms = 2 * (_FLOAT + 2 * size if size < _FLOAT else 3 * _FLOAT) * hidden
    attention = size * (2 * queries + 2 * keys) + size * queries + _FLOAT * config.num_attention_heads
    network = 4 * size * config.intermediate_size  # the gate before and after its function, up, their product
    layer = norms + attention + network + 7 * size * rank
    inputs = size * hidden
    around = 2 * _FLOAT * hidden + norms // 2 + inputs  # embedding, last norm, and what meets the head
    again = int(config.num_hidden_layers * settings.training.gradient_checkpointing)  # these keep their inputs alone
    kept = (config.num_hidden_layers - again) * layer + again * inputs + around
    tokens = settings.training.micro_batch_tokens
    return tokens * kept, tokens * layer if again else 0


def describe_memory(settings: Settings, vocabulary: VLVocabulary, code_width: int) -> str:
    """A line of the plan. Raises SettingsError if the card that `cluster.gpu_memory_gb` names is too small."""
    estimate = estimate_memory(settings, load_llama_config(settings.model.llm), vocabulary, code_width)
    if settings.cluster.training_gpus and settings.cluster.gpu_memory_gb:
        check_memory(estimate, settings, round(settings.cluster.gpu_memory_gb * GB))
    return f"memory of a worker, about {estimate}"


def check_memory(estimate: MemoryEstimate, settings: Settings, card: int) -> None:
    """Raises SettingsError if a card of `card` bytes is too small, which says what to change."""
    if estimate.total + RESERVED <= card:
        return
    training, fixed = settings.training, estimate.total - estimate.activations + RESERVED
    advice = []
    if training.gradient_checkpointing < 1:
        advice.append("raise training.gradient_checkpointing (1 takes least)")
    if fixed < card:
        fitting = int(training.micro_batch_tokens * (card - fixed) / estimate.activations)
        advice.append(f"lower training.micro_batch_tokens to {fitting:,}")
    if not training.zero_stage and settings.cluster.training_workers > 1:
        advice.append("set training.zero_stage to 1")
    if settings.model.dtype == "float32":
        advice.append("set model.dtype to bfloat16")
    advice.append("use larger cards" if training.zero_stage == 0 else "use larger cards or more workers")
    raise SettingsError(
        f"a training worker needs about {(estimate.total + RESERVED) / GB:.1f} GB and its card has {card / GB:.1f} "
        f"({estimate}); {', or '.join(advice)}"
    )
