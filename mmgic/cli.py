"""The `mmgic` command, and the settings flags that every job shares."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from mmgic.errors import InputError, explained
from mmgic.paths import plain_arguments
from mmgic.presets import PRESETS, preset
from mmgic.settings import Settings, load_settings, to_yaml


def add_settings_flags(parser: argparse.ArgumentParser, default: str = "toy") -> None:
    parser.add_argument(
        "--preset", default=default, metavar="NAME", help=f"one of {', '.join(PRESETS)} (default: {default})"
    )
    add_override_flags(parser)


def add_override_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", help="YAML file whose keys replace settings")
    parser.add_argument(
        "--set", action="append", default=[], metavar="a.b=value", help="replace one setting; repeatable"
    )
    parser.add_argument("--print-config", action="store_true", help="print the effective settings and stop")


def settings_from(arguments: argparse.Namespace) -> Settings:
    """The effective settings of parsed `add_settings_flags`. Raises SettingsError."""
    return load_settings(preset(arguments.preset), arguments.config, arguments.set)


def run_job(
    doc: str | None,
    work: Callable[[Settings, argparse.Namespace], None],
    add_flags: Callable[[argparse.ArgumentParser], None] = add_settings_flags,
) -> None:
    """Runs a job script: parses its flags, then calls `work(settings, flags)`.

    `doc` is the script's docstring; `add_flags` adds flags of the script's own and calls `add_settings_flags`. Wrong
    settings or unusable input end in one sentence and exit code 2, before Ray starts if that can be known.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_flags(parser)
    arguments = parser.parse_args(plain_arguments(sys.argv[1:]))

    def job() -> None:
        settings = settings_from(arguments)
        if arguments.print_config:
            print(to_yaml(settings), end="")
        else:
            work(settings, arguments)

    sys.exit(report_errors(job))


def report_errors(work: Callable[[], None]) -> int:
    """Calls `work` and returns the exit code: 0, or 2 after printing the sentence of an error that is not our fault."""
    try:
        work()
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where it was", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of what is printed has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        if not (sentence := explained(error)):
            raise
        print(f"error: {sentence}", file=sys.stderr)
        return 2
    return 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="mmgic", description="Tools around the jobs in jobs/ and tune/.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    toy = commands.add_parser("toy", help="the generated toy world").add_subparsers(required=True, metavar="COMMAND")
    make = toy.add_parser("make", help="write a toy world in the datasets' own formats")
    make.add_argument("--scenes", type=int, required=True, help="number of training scenes")
    make.add_argument("--seed", type=int, default=0)
    make.add_argument("--output", type=Path, required=True, metavar="DIR")
    make.set_defaults(run=_make_toy)

    downloads = toy.add_parser("downloads", help="write stand-ins of all that the paper's presets expect downloaded")
    downloads.add_argument("output", type=Path, metavar="DIR", help="a folder that is empty or not there")
    downloads.add_argument("--seed", type=int, default=0)
    downloads.set_defaults(run=_make_downloads)

    digest = commands.add_parser("digest", help="print a digest of a table's rows, whatever its files")
    digest.add_argument("dataset", metavar="DATASET", help="folder of a finished stage")
    digest.set_defaults(run=_digest)

    from mmgic.analysis import cli as statistics_cli
    from mmgic.checks import run as check_cli
    from mmgic.evaluation import cli as score_cli
    from mmgic.exported import cli as exported_cli
    from mmgic.hub import cli as hub_cli
    from mmgic.sources import cli as formats_cli
    from mmgic.view import cli as view_cli
    from mmgic.vision import cli as vision_cli

    check_cli.add_parser(commands)
    formats_cli.add_parser(commands)
    score_cli.add_parser(commands)
    view_cli.add_parser(commands)
    vision_cli.add_parser(commands)
    exported_cli.add_parser(commands)
    hub_cli.add_parser(commands)
    statistics_cli.add_parser(commands)

    parsed = parser.parse_args(plain_arguments(sys.argv[1:] if arguments is None else arguments))
    return report_errors(lambda: parsed.run(parsed))


def _make_toy(arguments: argparse.Namespace) -> None:
    from mmgic.toy.datasets.write import make_world

    if arguments.scenes < 1:
        raise InputError(f"--scenes is {arguments.scenes}; write at least 1")
    make_world(arguments.output, arguments.scenes, arguments.seed)
    print(f"toy world: {arguments.output}")


def _make_downloads(arguments: argparse.Namespace) -> None:
    from mmgic.toy.downloads.rehearsal import FILE
    from mmgic.toy.downloads.write import write_downloads

    write_downloads(arguments.output, arguments.seed)
    print((arguments.output / FILE).read_text(encoding="utf-8"))
    print(f"downloads: {arguments.output}; settings for a rehearsal on them, as above: {arguments.output / FILE}")


def _digest(arguments: argparse.Namespace) -> None:
    from mmgic.stages.digest import digest

    print(digest(arguments.dataset))


if __name__ == "__main__":
    sys.exit(main())
