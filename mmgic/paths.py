"""Paths as people write them: `~` is the home folder, file:// this machine's disk, and every other mark is a name's."""

from __future__ import annotations

import os
from collections.abc import Sequence


def plain(path: str) -> str:
    """`path` without file:// and with the home folder for ~; any other url as it is."""
    if path.startswith("file://"):
        path = path.removeprefix("file://").removeprefix("localhost")
    return os.path.expanduser(path) if path.startswith("~") else path


def plain_arguments(arguments: Sequence[str]) -> list[str]:
    """Words of a command line with `plain` paths; a shell leaves the ~ of --to=~/x as it is."""
    flags = (word.partition("=") if word.startswith("--") else ("", "", word) for word in arguments)
    return [f"{flag}{equals}{plain(value)}" for flag, equals, value in flags]


def is_local(path: str | os.PathLike[str]) -> bool:
    """Whether a path names a place on a disk of this machine, and not a url's."""
    return "://" not in plain(os.fspath(path))


def absolute(path: str | os.PathLike[str]) -> str:
    """`path` as every process of a cluster understands it: a url as it is, a local path from the root."""
    path = plain(os.fspath(path))
    return os.path.abspath(path) if is_local(path) else path.rstrip("/")
