"""The training loop of one worker. It knows torch.distributed and the DeepSpeed engine, and nothing of Ray."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist

from mmgic.model.loss import IGNORE, draws_target_only, target_labels
from mmgic.model.vocabulary import VLVocabulary
from mmgic.settings import Settings, SettingsError
from mmgic.training.curriculum import SampleOrder
from mmgic.training.engine import apply_gradients
from mmgic.training.packing import MicroBatch, deal, pack
from mmgic.training.schedule import learning_rate
from mmgic.training.store import TokenStore

T = TypeVar("T")


@dataclass(frozen=True)
class StepMetrics:
    """One optimizer step. Losses are means over the supervised tokens of the whole global batch."""

    step: int  # 0-based
    loss: float  # visual_weight * visual_loss + text_loss
    visual_loss: float
    text_loss: float
    learning_rate: float
    grad_norm: float  # before clipping
    tokens: int  # of the global batch
    seconds: float
    data_wait: float  # share of `seconds` that this worker waited for its batch

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds


class Batches:
    """This worker's micro batches of any step, computed from the store, the order and the seed."""

    def __init__(
        self,
        store: TokenStore,
        order: SampleOrder,
        vocabulary: VLVocabulary,
        settings: Settings,
        rank: int,
        workers: int,
    ) -> None:
        self._store, self._order, self._vocabulary = store, order, vocabulary
        self._settings, self._rank, self._workers = settings, rank, workers

    @property
    def first_visual(self) -> int:
        """The lowest id that counts as visual."""
        return self._vocabulary.img

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run."""
        training = self._settings.training
        return training.max_steps or max(1, -(-self._order.total // training.batch_size))

    def __call__(self, step: int) -> list[MicroBatch]:
        training = self._settings.training
        start = step * training.batch_size
        stop = start + training.batch_size
        if not training.max_steps:
            stop = min(stop, self._order.total)  # the last step takes what is left
        visits = self._order.visits(start, stop)
        lengths = self._store.lengths([visit.index for visit in visits])
        shares = deal(lengths.tolist(), training.micro_batch_tokens, self._workers)
        return [
            pack([self._document(visits[position].index, visits[position].name) for position in micro_batch])
            for micro_batch in shares[self._rank]
        ]

    def _document(self, index: int, visit: str) -> tuple[np.ndarray, np.ndarray]:
        sample = self._store.sample(index)
        tokens = sample.tokens.astype(np.int64)
        target_only = draws_target_only(
            self._settings.seed, self._settings.loss.mask_prob, sample.row_id, sample.repeat, visit
        )
        return tokens, target_labels(tokens, sample.template, sample.answer_spans, self._vocabulary, target_only)


def train(
    engine: Any,
    batches: Batches,
    settings: Settings,
    start: int,
    on_step: Callable[[StepMetrics], None],
    on_checkpoint: Callable[[int], None],
) -> None:
    """Makes the steps from `start` to the end. `on_checkpoint(steps made)` is called on all workers at the same
    steps.
    """
    training = settings.training
    steps = batches.steps
    began = time.perf_counter()
    for step, micro_batches, waited in prefetched(batches, start, steps):
        rate = learning_rate(step, steps, training)
        for group in engine.optimizer.param_groups:
            group["lr"] = rate
        # dropout, where LoRA has it, must not depend on what ran before this step
        torch.manual_seed(int(np.random.SeedSequence((settings.seed, step, dist.get_rank())).generate_state(1)[0]))
        visual_loss, text_loss, norm, tokens = optimizer_step(
            engine, micro_batches, settings.loss.visual_weight, batches.first_visual
        )
        loss = settings.loss.visual_weight * visual_loss + text_loss
        if not math.isfinite(loss):
            raise SettingsError(
                f"the loss of step {step + 1} is not finite; lower training.learning_rate and give the run another "
                "training.name"
            )
        now = time.perf_counter()
        on_step(
            StepMetrics(
                step=step,
                loss=loss,
                visual_loss=visual_loss,
                text_loss=text_loss,
                learning_rate=rate,
                grad_norm=norm,
                tokens=tokens,
                seconds=now - began,
                data_wait=waited / (now - began),
            )
        )
        if (step + 1) % training.checkpoint_every == 0 or step + 1 == steps:
            on_checkpoint(step + 1)
        began = time.perf_counter()


def optimizer_step(
    engine: Any, micro_batches: list[MicroBatch], visual_weight: float, first_visual: int
) -> tuple[float, float, float, int]:
    """One step of AdamW on the global batch of which `micro_batches` is this worker's share.

    Returns L_V, L_T, the gradient's norm before clipping, and the tokens of the global batch. The weight of every token
    is fixed by the counts of the global batch, so the gradient does not depend on how documents are spread over micro
    batches and workers.
    """
    device = engine.device
    micro_batches = [micro_batch.to(device) for micro_batch in micro_batches]
    supervised = [micro_batch.labels[micro_batch.labels != IGNORE] for micro_batch in micro_batches]
    totals = torch.zeros(3, dtype=torch.float64, device=device)  # visual targets, text targets, tokens
    for labels, micro_batch in zip(supervised, micro_batches, strict=True):
        visual = (labels >= first_visual).sum()
        totals += torch.stack([visual, len(labels) - visual, torch.tensor(len(micro_batch.ids), device=device)])
    dist.all_reduce(totals)
    counts = totals[:2].clamp(min=1).float()
    # DeepSpeed averages gradients over the workers; the loss is a sum over them
    weights = torch.tensor([visual_weight, 1.0], device=device) / counts * dist.get_world_size()
    sums = torch.zeros(2, device=device)
    for number, micro_batch in enumerate(micro_batches):
        engine.set_gradient_accumulation_boundary(number == len(micro_batches) - 1)
        losses = engine(micro_batch.ids, micro_batch.document_lengths, micro_batch.labels)
        engine.backward((losses * weights).sum())
        sums += losses.detach()
    norm = apply_gradients(engine)
    dist.all_reduce(sums)
    visual_loss, text_loss = (sums / counts).tolist()
    return visual_loss, text_loss, norm, int(totals[2])


def prefetched(batches: Callable[[int], T], start: int, stop: int) -> Iterator[tuple[int, T, float]]:
    """Step, its batch, and the seconds waited for it; the next batch is made while the caller works on this one."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        upcoming = thread.submit(batches, start) if start < stop else None
        for step in range(start, stop):
            began = time.perf_counter()
            batch = upcoming.result()  # type: ignore[union-attr]
            waited = time.perf_counter() - began
            upcoming = thread.submit(batches, step + 1) if step + 1 < stop else None
            yield step, batch, waited
