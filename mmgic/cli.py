"""The `mmgic` command, and the settings flags that every job shares."""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from shtab import SUPPORTED_SHELLS, complete

from mmgic.arguments import SEED, Parser, whole
from mmgic.errors import explained
from mmgic.paths import plain_arguments
from mmgic.presets import PRESETS, preset
from mmgic.settings import Settings, load_settings, to_yaml

Work = Callable[[Any, argparse.Namespace], None]  # called with the settings and the parsed flags
INTERRUPTED = 130  # the exit code of a command that Ctrl-C ended


def add_settings_flags(parser: argparse.ArgumentParser, default: str = "toy") -> None:
    names = tuple(PRESETS)
    parser.add_argument("--preset", default=default, choices=names, metavar="NAME", help=f"one of {', '.join(names)}")
    parser.set_defaults(base=lambda flags: preset(flags.preset))
    add_override_flags(parser)


def add_override_flags(parser: argparse.ArgumentParser) -> None:
    """Flags that change the settings which the parser's default `base(flags)` gives."""
    parser.add_argument("--config", metavar="FILE", help="YAML file whose keys replace settings")
    parser.add_argument(
        "--set", action="append", default=[], metavar="a.b=value", help="replace one setting; repeatable"
    )
    parser.add_argument("--print-config", action="store_true", help="print the effective settings and stop")


def settings_from(arguments: argparse.Namespace) -> Settings:
    """The effective settings of parsed `add_settings_flags`. Raises SettingsError."""
    settings: Settings = load_settings(arguments.base(arguments), arguments.config, arguments.set)
    return settings


def run_job(
    doc: str | None, work: Work, add_flags: Callable[[argparse.ArgumentParser], None] = add_settings_flags
) -> None:
    """Runs a job as a script: parses its flags, then calls `work(settings, flags)`.

    `doc` is its description; `add_flags` adds flags of its own and calls `add_settings_flags`. Wrong settings or
    unusable input end in one sentence and exit code 2, before Ray starts if that can be known.
    """
    parser = Parser(description=doc)
    add_flags(parser)
    arguments = parser.parse_args(plain_arguments(sys.argv[1:]))
    sys.exit(report_errors(lambda: _start(work, arguments)))


def _start(work: Work, arguments: argparse.Namespace) -> None:
    settings = settings_from(arguments)
    if arguments.print_config:
        print(to_yaml(settings), end="")
    else:
        work(settings, arguments)


def report_errors(work: Callable[[], None]) -> int:
    """Calls `work` and returns the exit code: 0, or 2 after printing the sentence of an error that is not our fault."""
    try:
        work()
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where it was", file=sys.stderr)
        return INTERRUPTED
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
    parsed = make_parser().parse_args(plain_arguments(sys.argv[1:] if arguments is None else arguments))
    return report_errors(lambda: parsed.run(parsed))


def make_parser() -> Parser:
    """The parser of `mmgic`, whose results hold `run`: what to call with them."""
    parser = Parser(prog="mmgic", description="Multi-grained concept annotations on Ray: data, training, evaluation.")
    parser.add_argument("--version", action="version", version=f"mmgic {version('mmgic')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_jobs(commands)

    toy = commands.add_parser("toy", help="the generated toy world").add_subparsers(required=True, metavar="COMMAND")
    make = toy.add_parser("make", help="write a toy world in the datasets' own formats")
    make.add_argument("--scenes", type=whole(1), required=True, metavar="N", help="number of training scenes")
    make.add_argument("--seed", type=SEED, default=0, help="the same seed makes the same world")
    make.add_argument("--output", type=Path, required=True, metavar="DIR", help="where the datasets' folders go")
    make.set_defaults(run=_make_toy)

    downloads = toy.add_parser("downloads", help="write stand-ins of all that the paper's presets expect downloaded")
    downloads.add_argument("output", type=Path, metavar="DIR", help="a folder that is empty or not there")
    downloads.add_argument("--seed", type=SEED, default=0, help="the same seed makes the same files")
    downloads.set_defaults(run=_make_downloads)

    digest = commands.add_parser("digest", help="print a digest of a table's rows, whatever its files")
    digest.add_argument("dataset", metavar="DATASET", help="folder of a finished stage")
    digest.set_defaults(run=_digest)

    from mmgic.analysis import cli as statistics_cli
    from mmgic.checks import cli as check_cli
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

    completion = commands.add_parser("completion", help="print a script that completes `mmgic` in your shell")
    completion.add_argument("shell", choices=SUPPORTED_SHELLS, help='for bash: eval "$(mmgic completion bash)"')
    completion.set_defaults(run=lambda arguments: print(complete(make_parser(), arguments.shell)))
    return parser


def _add_jobs(commands: Any) -> None:
    """Adds a command for each module of `mmgic.jobs`."""
    import mmgic.jobs

    for found in pkgutil.iter_modules(mmgic.jobs.__path__):
        job: Any = importlib.import_module(f"mmgic.jobs.{found.name}")
        about = job.__doc__.partition("\n")[0].rstrip(".").replace("%", "%%")
        parser = commands.add_parser(found.name.replace("_", "-"), help=about, description=job.__doc__)
        getattr(job, "add_flags", add_settings_flags)(parser)
        parser.set_defaults(run=lambda arguments, work=job.main: _start(work, arguments))


def _make_toy(arguments: argparse.Namespace) -> None:
    from mmgic.toy.datasets.write import make_world

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
