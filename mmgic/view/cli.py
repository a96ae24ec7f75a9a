"""`mmgic view DATASET`."""

from __future__ import annotations

import argparse
import secrets
from typing import Any

from mmgic.arguments import PORT
from mmgic.errors import InputError


def add_parser(commands: Any) -> None:
    view = commands.add_parser("view", help="look into a dataset on a local web page")
    view.add_argument("dataset", metavar="DATASET", help="output folder of a build, or the folder of one table")
    view.add_argument("--port", type=PORT, default=8090, help="port to listen on, 1 to 65535")
    view.add_argument("--host", default="127.0.0.1", help="address to listen on; by default this machine alone")
    view.add_argument("--token", default="", help="what the page's address must carry (default: a random one)")
    view.set_defaults(run=_view)


def _view(arguments: argparse.Namespace) -> None:
    try:
        from mmgic.view.app import serve
    except ModuleNotFoundError as error:
        raise InputError(f"`mmgic view` needs the package {error.name}; install mmgic[view]") from None
    serve(arguments.dataset, arguments.host, arguments.port, arguments.token or secrets.token_urlsafe(16))
