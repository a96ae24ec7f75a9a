"""`mmgic export` and `mmgic import`."""

from __future__ import annotations

import argparse
from typing import Any


def add_parser(commands: Any) -> None:
    export = commands.add_parser("export", help="write a finished table in the Hugging Face datasets layout")
    export.add_argument("dataset", metavar="DATASET", help="folder of a finished stage")
    export.add_argument("folder", metavar="DIR", help="new folder for README.md, mmgic.json and data/*.parquet")
    export.add_argument("--images", action="store_true", help="embed the image files that kept rows name or show")

    export.set_defaults(run=_export)

    load = commands.add_parser("import", help="make a finished table from a folder that 'mmgic export' wrote")
    load.add_argument("folder", metavar="DIR", help="folder with data/*.parquet")
    load.add_argument("output", metavar="OUTPUT", help="new folder of the table")
    load.add_argument("--images", default="", metavar="FOLDER", help="write embedded images there and point to them")
    load.set_defaults(run=_import)


def _export(arguments: argparse.Namespace) -> None:
    from mmgic.hub.export import export

    record = export(arguments.dataset, arguments.folder, arguments.images)
    print(f"{arguments.folder}: {record.rows:,} rows in {len(record.files)} files, with README.md")
    if record.not_embedded:
        reasons = ", ".join(f"{reason} {number:,}" for reason, number in record.not_embedded.items())
        print(f"{sum(record.not_embedded.values()):,} images of kept rows are not embedded ({reasons})")


def _import(arguments: argparse.Namespace) -> None:
    from mmgic.hub.load import import_dataset

    import_dataset(arguments.folder, arguments.output, arguments.images)
