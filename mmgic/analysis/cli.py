"""`mmgic stats`: the tables and figures of the paper's data sections for what a run folder holds."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_parser(commands: Any) -> None:
    stats = commands.add_parser("stats", help="Tables 13 to 15 and Figures 12 and 13 for what was built")
    stats.add_argument("folder", metavar="FOLDER", help="output folder of a run, local or any fsspec url")
    stats.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="local folder for stats.json and plots (default: FOLDER/stats; of a url none)",
    )
    stats.set_defaults(run=_stats)


def _stats(arguments: argparse.Namespace) -> None:
    from mmgic.analysis.statistics import statistics, statistics_text
    from mmgic.analysis.statistics_figures import write_statistics

    found = statistics(arguments.folder)
    print(statistics_text(found))
    output = arguments.output or (None if "://" in arguments.folder else Path(arguments.folder) / "stats")
    if output is None:
        print(f"\n{arguments.folder} is not a local folder; give --output DIR for stats.json and plots")
    else:
        write_statistics(found, output)
        print(f"\nstats.json and plots: {output}")
