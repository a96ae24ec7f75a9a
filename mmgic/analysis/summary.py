"""The figures of a run folder, and the table that a run ends with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from mmgic.analysis.text_table import text_table
from mmgic.documents.folders import document_tables
from mmgic.evaluation.benchmark import Score
from mmgic.evaluation.results import Results, read_results
from mmgic.schema import CORPORA
from mmgic.settings import Settings
from mmgic.stages import tables
from mmgic.stages.places import Places
from mmgic.stages.tables import Table
from mmgic.training.metrics import read_metrics

EVALUATIONS = {"untrained": "untrained", "other_image": "other image", "trained": "trained"}
LOSSES = {"loss": "L", "visual_loss": "L_V", "text_loss": "L_T"}
ENDS = 10  # most steps at the beginning and end of training that a loss is averaged over


@dataclass(frozen=True)
class SourceCount:
    """The kept documents of one source; tokens are ids of the VL vocabulary."""

    source: str
    documents: int
    visual_tokens: int
    text_tokens: int


@dataclass(frozen=True)
class ScoreRow:
    """One score of all evaluations by their names, and of answers that need no model by the answer."""

    label: str
    evaluations: dict[str, Score]
    constants: dict[str, Score]

    def constants_text(self) -> str:
        return ", ".join(f"{said} {score:.1f}" for said, score in self.constants.items())


@dataclass(frozen=True)
class RunSummary:
    """What of a run is there so far; parts that have not run are empty."""

    tables: Sequence[Table]  # each after the one that it was made from
    sources: Sequence[SourceCount]
    steps: Sequence[Mapping[str, float]]  # mmgic.training.metrics, one for each optimizer step
    evaluations: Mapping[str, Results]  # by the names of EVALUATIONS, in their order

    @property
    def total(self) -> SourceCount:
        counts = [(source.documents, source.visual_tokens, source.text_tokens) for source in self.sources]
        return SourceCount("total", *(sum(column) for column in zip(*counts, strict=True)) if counts else (0, 0, 0))

    @property
    def ends(self) -> int:
        """How many steps count as the beginning and as the end of training."""
        return max(1, min(ENDS, len(self.steps) // 2))

    def loss_ends(self) -> dict[str, tuple[float, float]]:
        """Loss name -> means over the first and the last `ends` steps."""
        return {
            name: (_mean(self.steps[: self.ends], key), _mean(self.steps[-self.ends :], key))
            for key, name in LOSSES.items()
            if self.steps
        }

    def scores(self) -> list[ScoreRow]:
        """The headline scores of every benchmark that was run."""
        rows: dict[str, ScoreRow] = {}
        for evaluation, results in self.evaluations.items():
            for benchmark in results.benchmarks:
                for label, score in benchmark.headlines().items():
                    row = rows.setdefault(label, ScoreRow(label, {}, {}))
                    row.evaluations[evaluation] = score
                    row.constants.update(benchmark.constant_headlines()[label])
        return list(rows.values())


def summarize(output_folder: Path, settings: Settings) -> RunSummary:
    """Reads the tables, the metrics and the scores in `output_folder` of a run of these settings."""
    results = {name: read_results(output_folder / "evaluation" / name) for name in EVALUATIONS}
    evaluations = {name: found for name, found in results.items() if found}
    made = run_tables(output_folder)
    documents = document_tables(made, settings.documents)
    metrics = read_metrics(output_folder / "training" / settings.training.name)
    return RunSummary(made, count_documents(documents), metrics, evaluations)


def run_tables(output_folder: Path) -> list[Table]:
    """The finished tables of a run, corpus by corpus, each after the one that it was made from."""
    rank: dict[str, int] = {corpus: i for i, corpus in enumerate(CORPORA)}
    found = [table for table in Places(str(output_folder)).tables() if table.corpus in rank]
    return sorted(found, key=lambda table: rank[table.corpus])


def count_documents(documents: Iterable[Table]) -> list[SourceCount]:
    """Kept documents and their tokens by source over all repeats. Streams the tables."""
    columns = ["source", "num_visual_tokens", "num_text_tokens"]
    counts: dict[str, list[int]] = {}
    for table in documents:
        for batch in tables.open_table(table.folder).to_batches(columns=columns, filter=pc.field("keep")):
            sums = [("source", "count"), ("num_visual_tokens", "sum"), ("num_text_tokens", "sum")]
            for row in pa.table(batch).group_by("source").aggregate(sums).to_pylist():
                so_far = counts.setdefault(row["source"], [0, 0, 0])
                added = (row["source_count"], row["num_visual_tokens_sum"], row["num_text_tokens_sum"])
                counts[row["source"]] = [a + b for a, b in zip(so_far, added, strict=True)]
    return [SourceCount(source, *counts[source]) for source in sorted(counts)]


def summary_table(output_folder: Path, settings: Settings) -> str:
    """Documents and tokens by source, losses, and scores beside the controls, as lines for a terminal."""
    summary = summarize(output_folder, settings)
    counts = [*summary.sources, summary.total]
    blocks = ["Toy numbers: made on a small generated world."] if settings.toy.scenes else []
    blocks += [
        text_table(
            ["source", "documents", "visual tokens", "text tokens"],
            [[c.source, f"{c.documents:,}", f"{c.visual_tokens:,}", f"{c.text_tokens:,}"] for c in counts],
        )
    ]
    if losses := summary.loss_ends():
        rows = [[name, f"{first:.3f}", f"{last:.3f}"] for name, (first, last) in losses.items()]
        blocks.append(text_table(["loss", f"first {summary.ends} steps", f"last {summary.ends} steps"], rows))
    if scores := summary.scores():
        names = list(summary.evaluations)
        rows = [
            [
                row.label,
                *(f"{row.evaluations[name]:.1f}" if name in row.evaluations else "" for name in names),
                row.constants_text(),
            ]
            for row in scores
        ]
        blocks.append(text_table(["score", *(EVALUATIONS[name] for name in names), "constant answers"], rows))
    return "\n\n".join(blocks)


def _mean(steps: Sequence[Mapping[str, float]], key: str) -> float:
    return sum(step[key] for step in steps) / len(steps)
