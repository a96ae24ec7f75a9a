"""`mmgic score`: scores of prediction files in the benchmarks' own formats, made by any tool."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Adds the `score` command with one sub-command for each benchmark."""
    score = subparsers.add_parser("score", help="score a prediction file in a benchmark's own format")
    benchmarks = score.add_subparsers(dest="benchmark", required=True)
    captions = benchmarks.add_parser("coco-caption", help="CIDEr of captions")
    captions.add_argument("--predictions", required=True, metavar="FILE", help='JSON array of {"image_id", "caption"}')
    captions.add_argument("--annotations", required=True, metavar="FILE", help="COCO captions JSON with the references")
    pope = benchmarks.add_parser("pope", help="accuracy, precision, recall, F1 and share of yes of Yes/No answers")
    pope.add_argument(
        "--predictions",
        required=True,
        metavar="FILE",
        help='JSON lines or array of {"question_id", "answer"}, or of {"question", "answer"} in the POPE file\'s order',
    )
    pope.add_argument("--annotations", required=True, metavar="FILE", help="POPE file with the labels")
    for parser in (captions, pope):
        parser.add_argument("--json", action="store_true", help="print the scores as one JSON object")
        parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Prints the scores, as a table or as one JSON object. Raises InputError where the files cannot be scored."""
    scores = _coco_caption(args) if args.benchmark == "coco-caption" else _pope(args)
    if args.json:
        print(json.dumps(scores))
        return
    for name, value in scores.items():
        print(f"{name:<14} {value:.4f}" if isinstance(value, float) else f"{name:<14} {value}")


def _coco_caption(args: argparse.Namespace) -> dict[str, Any]:
    from mmgic.evaluation.scorers.cider import score_caption_files

    score = score_caption_files(args.predictions, args.annotations)
    return {
        "benchmark": "coco-caption",
        "CIDEr": score.cider,
        "CIDEr_x100": 100 * score.cider,
        "images": len(score.per_image),
        "references": score.references,
    }


def _pope(args: argparse.Namespace) -> dict[str, Any]:
    from mmgic.evaluation.scorers.pope import score_pope_files

    return {"benchmark": "pope", **asdict(score_pope_files(args.predictions, args.annotations))}
