"""`mmgic check`."""

from __future__ import annotations

import argparse
from typing import Any

from mmgic.checks import RUN, WORKS


def add_parser(commands: Any) -> None:
    from mmgic.cli import add_settings_flags

    parser = commands.add_parser("check", help="say in seconds what would stop a run later: files, models, machine")
    parser.add_argument("--only", choices=WORKS, help="check this part alone (default: all but the last two)")
    add_settings_flags(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> None:
    from mmgic.checks.run import check_run
    from mmgic.cli import settings_from

    settings = settings_from(arguments)
    works = [arguments.only] if arguments.only else RUN
    findings = check_run(settings, works)
    for note in findings.notes:
        print(f"ok: {note}")
    for warning in findings.warnings:
        print(f"warning: {warning}")
    findings.refuse(f"'{settings.preset}'")
    print(f"nothing was found that would stop '{settings.preset}'")
