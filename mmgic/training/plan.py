"""What a run will do, stage by stage of its curriculum: known, and said, before anything starts."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from mmgic.analysis.text_table import text_table
from mmgic.settings import ClusterSettings, SettingsError, TrainingSettings
from mmgic.stages.sampling import mix, ranks, sample_key
from mmgic.training.curriculum import SampleOrder, Share, Term, Visit, parse_curriculum
from mmgic.training.schedule import learning_rate
from mmgic.training.store import TokenStore

_MOSTLY_EMPTY = 0.5  # of a micro batch


@dataclass(frozen=True)
class PlannedStage:
    """A stage of a curriculum: the steps `start` to `stop` (exclusive) of the run."""

    terms: tuple[Term, ...]
    shares: tuple[Share, ...]  # what each term takes of the store
    order: SampleOrder
    training: TrainingSettings  # the run's, with what the stage has of its own
    start: int
    steps: int

    @property
    def name(self) -> str:
        return "+".join(map(str, self.terms))

    @property
    def stop(self) -> int:
        return self.start + self.steps

    @property
    def wanted(self) -> int:
        """Visits that its epochs hold."""
        return round(self.training.epochs * self.order.size)

    @property
    def samples(self) -> int:
        """Visits that its steps make."""
        made = self.steps * self.training.batch_size
        return made if self.training.max_steps else min(made, self.wanted)

    def visits(self, step: int) -> list[Visit]:
        """Those of the run's 0-based `step`; the last step takes what is left."""
        first = (step - self.start) * self.training.batch_size
        return self.order.visits(first, min(first + self.training.batch_size, self.samples))

    def tokens(self, store: TokenStore) -> int:
        """Of its visits; exact if they are whole passes."""
        one_pass = sum(share.times * store.tokens(share.indices) for share in self.shares)
        return round(one_pass * self.samples / self.order.size)


@dataclass(frozen=True)
class Plan:
    stages: tuple[PlannedStage, ...]
    training: TrainingSettings

    @property
    def steps(self) -> int:
        return self.stages[-1].stop

    def stage(self, step: int) -> PlannedStage:
        """The stage that the 0-based `step` belongs to."""
        return next(stage for stage in self.stages if step < stage.stop)

    def number(self, step: int) -> int:
        """The 1-based number of that stage."""
        return 1 + self.stages.index(self.stage(step))

    def first_of_optimizer(self, step: int) -> int:
        """The step at which the optimizer and the schedule of `step` began."""
        return self.stage(step).start if self.training.schedule == "per_stage" else 0

    def learning_rate(self, step: int) -> float:
        stage, first = self.stage(step), self.first_of_optimizer(step)
        steps = stage.steps if self.training.schedule == "per_stage" else self.steps
        return learning_rate(step - first, steps, stage.training)


def stages_of(training: TrainingSettings) -> tuple[tuple[Term, ...], ...]:
    """The terms of each stage. Raises SettingsError if the curriculum and `training.stages` cannot be used."""
    curriculum = parse_curriculum(training.curriculum)
    if training.stages and len(training.stages) != len(curriculum):
        raise SettingsError(
            f"'training.stages' has {len(training.stages)} entries but the curriculum {training.curriculum!r} has "
            f"{len(curriculum)} stages; write one for each, {{}} for a stage without settings of its own, or [] in all"
        )
    return curriculum


def make_plan(training: TrainingSettings, store: TokenStore, seed: int) -> Plan:
    """Raises SettingsError for a curriculum that cannot be read, or that the store has no documents for."""
    stages: list[PlannedStage] = []
    for number, terms in enumerate(stages_of(training)):
        own = {k: v for k, v in vars(training.stages[number]).items() if v is not None} if training.stages else {}
        shares = tuple(_share(term, store, seed) for term in terms)
        stage = PlannedStage(
            terms,
            shares,
            SampleOrder(shares, number, seed),
            replace(training, **own),
            start=stages[-1].stop if stages else 0,
            steps=0,
        )
        needed = max(1, -(-stage.wanted // stage.training.batch_size))
        stages.append(replace(stage, steps=stage.training.max_steps or needed))
    return Plan(tuple(stages), training)


def _share(term: Term, store: TokenStore, seed: int) -> Share:
    indices = store.corpus_indices(term.corpus)
    if not len(indices):
        known = ", ".join(sorted(store.corpora)) or "none"
        raise SettingsError(
            f"'training.curriculum' names the corpus '{term.corpus}', which has no documents; those that have some: "
            f"{known}"
        )
    if term.size > len(indices):
        raise SettingsError(
            f"'training.curriculum' takes {term.size:,} documents of '{term.corpus}', which has {len(indices):,}; "
            "write a smaller size, or none for all"
        )
    return Share(draw(store, term.corpus, term.size, seed) if term.size else indices, term.times)


def draw(store: TokenStore, corpus: str, size: int, seed: int) -> np.ndarray:
    """Store indices int64 [size], ascending, of a sample of a corpus that the seed and the documents' ids decide alone.

    A larger sample holds the smaller ones, and documents that join or leave the corpus change it by as many.
    """
    indices = store.corpus_indices(corpus)
    row_ids, repeats = store.identities(indices)
    rank = mix(ranks(row_ids, sample_key(seed, f"curriculum\x1f{corpus}")) ^ repeats.astype(np.uint64))
    return indices.start + np.sort(np.argpartition(rank, size - 1)[:size])


def plan_text(
    plan: Plan, store: TokenStore, checkpoint_bytes: int, tokens_per_second: float, cluster: ClusterSettings
) -> str:
    """The plan for a person. `tokens_per_second` is of all workers together, 0 if unknown."""
    workers = max(1, cluster.training_workers)
    rows = []
    for number, stage in enumerate(plan.stages, start=1):
        tokens = stage.tokens(store)
        rows.append(
            [
                str(number),
                stage.name,
                f"{stage.samples:,}",
                f"{tokens:,}",
                f"{stage.steps:,}",
                f"{round(tokens / stage.steps):,}",
                f"{round(tokens / stage.steps / workers):,}",
                f"{_filling(plan, stage, tokens, workers):.0%}",
                f"{plan.learning_rate(_peak(plan, stage)):.1e}",
                f"{tokens / tokens_per_second / 3600:.2f}" if tokens_per_second else "unknown",
            ]
        )
    header = [
        "stage",
        "corpora",
        "samples",
        "tokens",
        "steps",
        "tokens/step",
        "of a worker",
        "filled",
        "highest rate",
        "hours",
    ]
    kept = plan.training.keep_checkpoints
    lines = [
        "plan:",
        text_table(header, rows),
        f"a checkpoint of {_size(checkpoint_bytes)} every {plan.training.checkpoint_every:,} steps, the last {kept} "
        f"kept: {_size(kept * checkpoint_bytes)}",
    ]
    for number, stage in enumerate(plan.stages, start=1):
        filling = _filling(plan, stage, stage.tokens(store), workers)
        if workers > 1 and filling < _MOSTLY_EMPTY:
            lines.append(
                f"note: the micro batches of stage {number} ({stage.name}) are filled to {filling:.0%}; as few as "
                f"{max(1, round(workers * filling))} workers would do its steps nearly as fast"
            )
        if stage.samples < stage.wanted:
            lines.append(
                f"note: max_steps ends stage {number} ({stage.name}) after {stage.samples:,} of its "
                f"{stage.wanted:,} samples"
            )
    return "\n".join(lines)


def _filling(plan: Plan, stage: PlannedStage, tokens: int, workers: int) -> float:
    """What share of a worker's micro batches the documents of a mean step fill."""
    each, capacity = tokens / stage.steps / workers, plan.training.micro_batch_tokens
    return each / (capacity * max(1, math.ceil(each / capacity)))


def _peak(plan: Plan, stage: PlannedStage) -> int:
    """The step of the stage with its highest learning rate."""
    return max(range(stage.start, stage.stop), key=plan.learning_rate)


def _size(number: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.1f} GB"
