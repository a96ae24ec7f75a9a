"""The training of `training.py` by Transformers' Trainer with PEFT and DeepSpeed, as a user would set it up."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import deepspeed
import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments

from mmgic.model.loss import IGNORE
from mmgic.model.vl_llama import LORA_TARGETS
from mmgic.settings import Settings
from mmgic.training.recipes.pretrain import make_batches

Row = dict[str, Tensor]


def train_peer(settings: Settings, start: Path, packed: bool, liger: bool) -> list[dict[str, Any]]:
    """Seconds, tokens, loss and gradient norm of each step, for the exported model `start`."""
    steps = rows_of_steps(settings, packed)
    each = 1 if packed else max(1, settings.training.micro_batch_tokens // longest_of(steps))
    while settings.training.batch_size % each and not packed:
        each -= 1
    bfloat16 = settings.model.dtype == "bfloat16"
    model = AutoModelForCausalLM.from_pretrained(start, dtype=settings.model.dtype, attn_implementation="sdpa")
    lora = LoraConfig(
        r=settings.model.lora_rank,
        lora_alpha=settings.model.lora_alpha,
        target_modules=LORA_TARGETS,
        modules_to_save=["embed_tokens", "lm_head", "input_layernorm", "post_attention_layernorm", "model.norm"],
    )
    model = get_peft_model(model, lora)
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # as in ours: a C++ extension for inference alone
    clock = Clock([sum(len(row["input_ids"]) for row in rows) for rows in steps])
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            max_steps=len(steps),
            per_device_train_batch_size=each,
            gradient_accumulation_steps=len(steps[0]) // each,
            learning_rate=settings.training.learning_rate,
            lr_scheduler_type="constant",
            weight_decay=settings.training.weight_decay,
            adam_beta2=settings.training.adam_beta2,
            bf16=bfloat16,
            use_cpu=not settings.cluster.training_gpus,
            deepspeed=deepspeed_config(bfloat16),
            use_liger_kernel=liger,
            remove_unused_columns=False,
            save_strategy="no",
            report_to="none",
            logging_steps=1,
            disable_tqdm=True,
        )
        data = [row for rows in steps for row in rows]
        WeightedTrainer(
            model, arguments, data_collator=collate, train_dataset=data, callbacks=[clock], clock=clock
        ).train()
    return clock.lines


def deepspeed_config(bfloat16: bool) -> dict[str, Any]:
    return {
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": 1.0,
        "bf16": {"enabled": bfloat16},
        "zero_optimization": {"stage": 1},
        "zero_allow_untested_optimizer": True,
    }


def rows_of_steps(settings: Settings, packed: bool) -> list[list[Row]]:
    """The documents of each step as rows: of a micro batch each, or of a document; equally many in every step."""
    batches = make_batches(settings)
    steps = []
    for number in range(batches.steps):
        micro_batches = batches(number)
        labels = torch.cat([micro.labels for micro in micro_batches])
        visual, text = labels >= batches.vocabulary.img, (labels >= 0) & (labels < batches.vocabulary.img)
        shares = (settings.loss.visual_weight / visual.sum(), 1 / text.sum())
        rows = []
        for micro in micro_batches:
            lengths = list(micro.document_lengths)
            weights = torch.where(micro.labels >= batches.vocabulary.img, *shares)
            # Trainer's models are given labels that are shifted already
            row = {"input_ids": micro.ids, "labels": micro.labels, "weights": weights}
            row["position_ids"] = torch.cat([torch.arange(length) for length in lengths])
            split = [
                dict(zip(row, parts, strict=True))
                for parts in zip(*(t.split(lengths) for t in row.values()), strict=True)
            ]
            rows += [row] if packed else split
        steps.append(rows)
    most = max(map(len, steps))
    nothing = {name: torch.full((2,), IGNORE if name == "labels" else 0) for name in steps[0][0]}
    return [rows + [nothing] * (most - len(rows)) for rows in steps]


def longest_of(steps: Sequence[Sequence[Row]]) -> int:
    return max(len(row["input_ids"]) for rows in steps for row in rows)


def collate(rows: Sequence[Row]) -> dict[str, Tensor]:
    """Rows padded to the longest of them; padding is computed like any other token, only its loss is left out."""
    fill = {"labels": IGNORE}
    return {
        name: pad_sequence([row[name] for row in rows], batch_first=True, padding_value=fill.get(name, 0))
        for name in rows[0]
    }


class Clock(TrainerCallback):  # type: ignore[misc]
    """Times steps and keeps what Trainer logs of them."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self.tokens, self.lines, self.losses, self.began = tokens, [], [], 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        self.began, self.losses = time.perf_counter(), []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        seconds = time.perf_counter() - self.began
        loss = float(sum(self.losses))
        self.lines.append({"seconds": seconds, "loss": loss, "tokens": self.tokens[len(self.lines)], "grad_norm": 0.0})

    def on_log(self, arguments: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
        if "grad_norm" in logs:
            self.lines[-1]["grad_norm"] = float(logs["grad_norm"])


class WeightedTrainer(Trainer):  # type: ignore[misc]
    """With our loss: each token's weight is that of its modality in the whole step."""

    def __init__(self, *arguments: Any, clock: Clock, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.clock, self.model_accepts_loss_kwargs = clock, True  # the loss is a sum over micro batches

    def _get_train_sampler(self, *_: Any) -> Any:
        return torch.utils.data.SequentialSampler(self.train_dataset)

    def compute_loss(self, model: Any, inputs: dict[str, Tensor], *_: Any, **__: Any) -> Tensor:
        labels, weights = inputs.pop("labels"), inputs.pop("weights")
        logits = model(**inputs, use_cache=False).logits.float()
        losses = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none", ignore_index=IGNORE)
        loss = (losses * weights.flatten()).sum()
        self.clock.losses.append(loss.detach())
        return loss
