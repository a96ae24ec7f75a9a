"""The training loop of one worker. It knows torch.distributed and the DeepSpeed engine, and nothing of Ray."""

from __future__ import annotations

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
from mmgic.settings import TrainingSettings
from mmgic.training.bad_steps import StepGuard
from mmgic.training.curriculum import Visit
from mmgic.training.engine import apply_gradients, forget_moments, set_rates
from mmgic.training.packing import MicroBatch, deal, pack
from mmgic.training.plan import Plan
from mmgic.training.speed import Speed, SpeedMeter
from mmgic.training.store import TokenStore
from mmgic.training.worker import Worker

T = TypeVar("T")


@dataclass(frozen=True)
class StepMetrics(Speed):
    """One optimizer step. Losses are means over the supervised tokens of the whole global batch."""

    step: int  # 0-based
    stage: int  # of the curriculum, 1-based
    loss: float  # visual_weight * visual_loss + text_loss
    visual_loss: float
    text_loss: float
    learning_rate: float
    grad_norm: float  # before clipping
    tokens: int  # of the global batch
    data_wait: float  # share of `seconds` that this worker waited for its batch
    checkpoint_wait: float  # seconds before the step that training stood still for a checkpoint
    made: bool  # whether the weights have changed

    def summary(self) -> str:
        return (
            f"L {self.loss:.3f}  L_V {self.visual_loss:.3f}  L_T {self.text_loss:.3f}  lr {self.learning_rate:.1e}  "
            f"|g| {self.grad_norm:.2f}  {self.tokens_per_second:,.0f} tokens/s  "
            f"MFU {self.mfu_4n:.0%} of 4N  "
            f"waiting for data {self.data_wait:.0%}"
        )


@dataclass(frozen=True)
class Batches:
    """The micro batches of worker `rank` at any step, computed from the store, the plan and the seed."""

    store: TokenStore
    plan: Plan
    vocabulary: VLVocabulary
    training: TrainingSettings
    mask_prob: float
    seed: int
    rank: int = 0
    workers: int = 1

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.plan.steps

    def __call__(self, step: int) -> list[MicroBatch]:
        visits = self.plan.stage(step).visits(step)
        lengths = self.store.lengths([visit.index for visit in visits])
        shares = deal(lengths.tolist(), self.training.micro_batch_tokens, self.workers)
        return [pack([self._document(visits[position]) for position in micro]) for micro in shares[self.rank]]

    def row_ids(self, step: int) -> list[int]:
        """Of the documents of the global batch."""
        return [self.store.sample(visit.index).row_id for visit in self.plan.stage(step).visits(step)]

    def _document(self, visit: Visit) -> tuple[np.ndarray, np.ndarray]:
        """Tokens and labels, int64 [tokens] each."""
        sample = self.store.sample(visit.index)
        tokens = sample.tokens.astype(np.int64)
        target_only = draws_target_only(self.seed, self.mask_prob, sample.row_id, sample.repeat, visit.name)
        return tokens, target_labels(tokens, sample.template, sample.answer_spans, self.vocabulary, target_only)


def train(
    engine: Any,
    batches: Batches,
    visual_weight: float,
    start: int,
    worker: Worker,
    guard: StepGuard,
    log: Callable[[StepMetrics], None],
    save: Callable[[int], None],
) -> None:
    """Makes the steps from `start` to the end, with a loss of `visual_weight` * L_V + L_T.

    `log` is called after each, `save(steps made)` on all workers at the same steps. Raises SettingsError if the run is
    to stop at a step that is not made.
    """
    training, plan, steps = batches.training, batches.plan, batches.steps
    meter = SpeedMeter(
        engine.module, engine.module.dtype, engine.device, training.micro_batch_tokens, dist.get_world_size()
    )
    began, checkpoint_wait = time.perf_counter(), 0.0
    for step, micro_batches, waited in prefetched(batches, start, steps):
        stage, rate = plan.stage(step), plan.learning_rate(step)
        if plan.first_of_optimizer(step) == step:
            forget_moments(engine)
        set_rates(engine, rate, stage.training.weight_decay, training.embedding_decay)
        # dropout, if LoRA has it, must not depend on what ran before this step
        torch.manual_seed(int(np.random.SeedSequence((batches.seed, step, dist.get_rank())).generate_state(1)[0]))
        visual_loss, text_loss, norm, tokens = optimizer_step(
            engine, micro_batches, visual_weight, batches.vocabulary.img, lambda *found: not guard.problem(*found)
        )
        loss = visual_weight * visual_loss + text_loss
        problem = guard.problem(loss, norm)
        if not problem:
            guard.made(norm)
        seconds = time.perf_counter() - began
        log(
            StepMetrics(
                step=step,
                stage=plan.number(step),
                loss=loss,
                visual_loss=visual_loss,
                text_loss=text_loss,
                learning_rate=rate,
                grad_norm=norm,
                tokens=tokens,
                data_wait=waited / seconds,
                checkpoint_wait=checkpoint_wait,
                made=not problem,
                **vars(meter(tokens, len(micro_batches), seconds)),
            )
        )
        if problem:
            worker.note_bad_step(step, problem, batches.row_ids(step))
            dist.barrier()  # it is written before a worker stops
            guard.refused(step, problem, worker.folder)
        began = time.perf_counter()
        if worker.due(step + 1):
            save(step + 1)
        checkpoint_wait = time.perf_counter() - began
        began = time.perf_counter()


def optimizer_step(
    engine: Any,
    micro_batches: list[MicroBatch],
    visual_weight: float,
    first_visual: int,
    accepts: Callable[[float, float], bool] = lambda loss, norm: True,
) -> tuple[float, float, float, int]:
    """One step of AdamW on the global batch of which `micro_batches` is this worker's share.

    Returns L_V, L_T, the gradient's norm before clipping, and the tokens of the global batch. The weights change if
    `accepts` takes the loss and that norm. What a token counts is fixed by the numbers of the global batch, so the
    gradient does not depend on how documents are spread over micro batches and workers.
    """
    device = engine.device
    micro_batches = [micro_batch.to(device) for micro_batch in micro_batches]
    supervised = [micro_batch.labels[micro_batch.labels != IGNORE] for micro_batch in micro_batches]
    totals = torch.zeros(3, dtype=torch.float64, device=device)  # visual targets, text targets, tokens
    for labels, micro_batch in zip(supervised, micro_batches, strict=True):
        visual = (labels >= first_visual).sum()
        totals += torch.stack([visual, len(labels) - visual, torch.tensor(micro_batch.tokens, device=device)])
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
    dist.all_reduce(sums)
    visual_loss, text_loss = (sums / counts).tolist()
    norm = apply_gradients(engine, lambda norm: accepts(visual_weight * visual_loss + text_loss, norm))
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
