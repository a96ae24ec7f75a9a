"""`mmgic formats`."""

from __future__ import annotations

import argparse
from typing import Any

from mmgic.sources.formats import FORMATS, Format


def add_parser(commands: Any) -> None:
    formats = commands.add_parser("formats", help="list the dataset formats that can be read, and the files they need")
    formats.set_defaults(run=_formats)


def _formats(arguments: argparse.Namespace) -> None:
    corpus = ""
    for name, form in FORMATS.items():
        if form.corpus != corpus:
            corpus = form.corpus
            print(f"{corpus}:")
        print(f"  {name:<22}{form.datasets}\n{'':24}{_files(form)}")


def _files(form: Format) -> str:
    needed = ", ".join(name.replace(" | ", " or ") for name in form.files) or "what the source's 'annotations' names"
    more = f"; if there: {', '.join(form.more_files)}" if form.more_files else ""
    return needed + more
