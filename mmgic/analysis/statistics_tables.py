"""The tables of `mmgic.analysis.statistics`, for pages and terminals; the paper's numbers stand below or beside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from mmgic.analysis import published
from mmgic.analysis.statistics import RARE, InstructionCount, Statistics, TokenCount

PAPER = "in the paper"

Cell = str | int


@dataclass(frozen=True)
class StatisticsTable:
    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def statistics_tables(found: Statistics) -> list[StatisticsTable]:
    """The tables that there is data for."""
    return [StatisticsTable(title, head, tuple(rows)) for title, head, rows in _tables(found) if rows]


def statistics_text(found: Statistics) -> str:
    """The statistics as tables for a terminal."""
    return "\n\n".join(_text(table) for table in statistics_tables(found))


def _tables(found: Statistics) -> Iterator[tuple[str, tuple[str, ...], list[tuple[Cell, ...]]]]:
    yield (
        "Sections 2 and G: what was collected",
        ("", "here", PAPER),
        [(c.name, c.here, c.paper) for c in found.collected],
    )
    yield (
        "Table 13: detection sources before and after tokenization",
        ("source", "regions", "images", "concepts", "visual tokens", "text tokens", "used regions", "samples"),
        _with_paper(
            [
                (d.source, d.regions, d.images, d.concepts, d.visual_tokens, d.text_tokens, d.used_regions, d.samples)
                for d in found.detection
            ],
            published.DETECTION,
        ),
    )
    yield (
        "Table 14: instruction samples",
        ("type", "task", "source", "samples"),
        [row for task, counts in groupby(found.instructions, lambda i: i.task) for row in _of_task(task, [*counts])],
    )
    for title, counts, paper in (
        ("Table 15: tokenized instruction data", found.instruction_tokens, published.INSTRUCTION_TOKENS),
        ("Documents of all corpora", found.corpora, published.CORPORA),
    ):
        yield title, ("", "visual tokens", "text tokens", "samples"), _with_paper(_token_rows(counts), paper)
    yield (
        "Figure 12: labels",
        ("", "labels", "annotations", f"labels below {RARE}", PAPER),
        [
            (kind, c.distinct, c.occurrences, f"{c.rare_share:.1%}", published.RARE_LABELS[kind])
            for kind, c in found.labels.items()
        ],
    )
    phrases = found.phrases
    if phrases:
        yield (
            "Figure 13: noun phrases before and after the filter",
            ("", "noun phrases", f"of {phrases.min_count} captions or more", "occurrences"),
            [
                (name, c.distinct, c.frequent, c.occurrences)
                for name, c in (("before", phrases.before), ("after", phrases.after))
            ],
        )


def _token_rows(counts: Sequence[TokenCount]) -> list[tuple[Cell, ...]]:
    return [(c.name, c.visual_tokens, c.text_tokens, c.samples) for c in counts]


def _with_paper(rows: Sequence[tuple[Cell, ...]], paper: Mapping[str, tuple[str, ...]]) -> list[tuple[Cell, ...]]:
    """`rows`, each before the paper's of the same name if it has one."""
    both = [(row, paper.get(str(row[0]))) for row in rows]
    return [line for row, of_paper in both for line in ([row, (f"  {PAPER}", *of_paper)] if of_paper else [row])]


def _of_task(task: str, counts: Sequence[InstructionCount]) -> list[tuple[Cell, ...]]:
    rows: list[tuple[Cell, ...]] = [(c.type, c.task, c.source, c.samples) for c in counts]
    of_paper = published.INSTRUCTIONS.get(task)
    return [*rows, (counts[0].type, task, PAPER, of_paper)] if of_paper else rows


def _text(table: StatisticsTable) -> str:
    lines = [table.head, *([f"{cell:,}" if isinstance(cell, int) else cell for cell in row] for row in table.rows)]
    texts = [
        isinstance(cell, str) and head not in (PAPER,) and "%" not in cell
        for cell, head in zip(table.rows[0], table.head, strict=True)
    ]
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.head))]
    columns = list(zip(widths, texts, strict=True))
    printed = [
        "  ".join(f"{cell:<{w}}" if text else f"{cell:>{w}}" for cell, (w, text) in zip(line, columns, strict=True))
        for line in lines
    ]
    return "\n".join([table.title, *(line.rstrip() for line in printed)])
