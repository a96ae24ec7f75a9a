"""`mmgic score`: scores of prediction files in the benchmarks' own formats, made by any tool."""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import asdict
from typing import Any

from mmgic.analysis.text_table import text_table
from mmgic.evaluation.registry import benchmarks
from mmgic.evaluation.results import BenchmarkResult, label, with_printed, write_items
from mmgic.evaluation.scoring import score_files

SHOWN = 3  # annotation files that are named


def add_parser(subparsers: Any) -> None:
    """Adds the `score` command with one sub-command for each benchmark."""
    score = subparsers.add_parser("score", help="score prediction files in a benchmark's own format")
    names = score.add_subparsers(dest="benchmark", required=True, metavar="BENCHMARK")
    for name, benchmark in benchmarks().items():
        parser = names.add_parser(name, help=f"{benchmark.title}: {', '.join(benchmark.headline)}")
        for flag, about in (
            ("--predictions", f"one for each part: {benchmark.predictions.about}"),
            ("--annotations", benchmark.about_files),
        ):
            parser.add_argument(flag, required=True, nargs="+", metavar="FILE", help=about)
        parser.add_argument("--subset", action="store_true", help="score the items that are answered, if not all are")
        parser.add_argument("--items", metavar="FILE", help="write the verdict on each item there, as JSON lines")
        parser.add_argument("--json", action="store_true", help="print the scores as one JSON object")
        parser.set_defaults(run=print_scores)


def print_scores(args: argparse.Namespace) -> None:
    """Prints the scores, as a table or as one JSON object. Raises InputError if the files cannot be scored."""
    result, items = score_files(args.benchmark, args.predictions, args.annotations, args.subset)
    if args.items:
        write_items(args.items, items)
    print(json.dumps(asdict(result, dict_factory=with_printed)) if args.json else scores_text(result))


def scores_text(result: BenchmarkResult) -> str:
    """All scores of a benchmark beside those of its parts and of constant answers, and what made them below."""
    parts = {part.name: part.scores for part in result.parts} if len(result.parts) > 1 else {}
    columns = {**parts, "mean" if parts else "score": result.scores}
    columns |= {f'always "{said}"': scores for said, scores in result.constants.items()}
    rows = [
        [label("", name, score), *(f"{scores[name]:.2f}" if name in scores else "" for scores in columns.values())]
        for name, score in result.scores.items()
    ]
    table = text_table([result.title, *columns], [["items", *_items(result, len(columns))], *rows])
    return "\n".join([table, *_made_by(result)])


def _items(result: BenchmarkResult, columns: int) -> list[str]:
    cells = [_counted(part.items, part.total) for part in result.parts]
    if len(cells) > 1:
        cells.append(_counted(sum(part.items for part in result.parts), sum(part.total for part in result.parts)))
    return [*cells, *[""] * (columns - len(cells))]


def _counted(items: int, total: int) -> str:
    return f"{items} of {total}" if total > items else str(items)


def _made_by(result: BenchmarkResult) -> list[str]:
    """The rule, the digests of files and answers, and what must be read beside the scores."""
    lines = [f"rule: {result.rule}"]
    shown = zip(result.annotations[:SHOWN], result.digests, strict=False)
    lines += [f"annotations: {file} (sha256 {digest})" for file, digest in shown]
    if more := result.digests[SHOWN:]:
        together = hashlib.sha256("".join(more).encode()).hexdigest()[:16]
        lines.append(f"annotations: {len(more)} files more (sha256 of their digests {together})")
    for part in result.parts:
        lines.append(f"predictions: {part.predictions} ({part.items:,} answers, sha256 {part.digest})")
        lines += [f"note: {f'{part.name}: ' if part.name else ''}{note}" for note in part.notes]
    return lines
