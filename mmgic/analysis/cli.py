"""`mmgic stats`: the numbers of the paper's data sections for what a run folder holds, with the paper's beside."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from mmgic.settings import Recipe


def add_parser(commands: Any) -> None:
    stats = commands.add_parser(
        "stats",
        help="the paper's numbers about its data, of what was built (Sections 2, F to H, Tables 13 to 15)",
    )
    stats.add_argument("folder", metavar="FOLDER", help="output folder of a run, local or any fsspec url")
    stats.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="local folder for stats.json and plots (default: FOLDER/stats; of a url none)",
    )
    stats.add_argument("--recipe", choices=get_args(Recipe), help="count its documents (default: the last build's)")
    stats.add_argument("--name", help="and those with this documents.name (default: the last build's)")
    stats.set_defaults(run=_stats)


def _stats(arguments: argparse.Namespace) -> None:
    from mmgic.analysis.statistics import built_documents, statistics
    from mmgic.analysis.statistics_figures import write_statistics
    from mmgic.analysis.statistics_tables import statistics_text
    from mmgic.stages.places import Places

    documents = built_documents(Places(arguments.folder))
    chosen = {"recipe": arguments.recipe, "name": arguments.name}
    documents = replace(documents, **{key: value for key, value in chosen.items() if value is not None})
    found = statistics(arguments.folder, documents)
    print(statistics_text(found))
    output = arguments.output or (None if "://" in arguments.folder else Path(arguments.folder) / "stats")
    if output is None:
        print(f"\n{arguments.folder} is not a local folder; give --output DIR for stats.json and plots")
    else:
        write_statistics(found, output)
        print(f"\nstats.json and plots: {output}")
