"""`mmgic stats`: the tables and figures of the paper's data sections for what a run folder holds."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_parser(commands: Any) -> None:
    stats = commands.add_parser("stats", help="Tables 13 to 15 and Figures 12 and 13 for what was built")
    stats.add_argument("folder", type=Path, metavar="FOLDER", help="output folder of a run")
    stats.add_argument("--output", type=Path, metavar="DIR", help="for stats.json and plots (default: FOLDER/stats)")
    stats.set_defaults(run=_stats)


def _stats(arguments: argparse.Namespace) -> None:
    from mmgic.analysis.statistics import statistics, statistics_text
    from mmgic.analysis.statistics_figures import write_statistics

    found = statistics(arguments.folder)
    print(statistics_text(found))
    output = arguments.output or arguments.folder / "stats"
    write_statistics(found, output)
    print(f"\nstats.json and plots: {output}")
