"""Files whose names an annotation file writes in another way than the disk does.

Archives change names on their way: macOS decomposes letters with accents, Windows minds no letter case and parts
folders by backslashes, tools percent-encode, and labelling programs write paths of the machine that they ran on.
"""

from __future__ import annotations

import functools
import posixpath
import unicodedata
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

import fsspec

_FOLDERS = 1000  # whose names are kept


class NearNames:
    """Finds files by names that differ in Unicode form, letter case, percent-encoding, separators or root.

    What is found lies inside of the folder that is searched. Where two files are equally near, neither is taken.
    """

    def __init__(self, filesystem: fsspec.AbstractFileSystem) -> None:
        self._filesystem = filesystem
        self._names = functools.lru_cache(_FOLDERS)(self._other_names)

    def find(self, name: Any, folders: Sequence[str]) -> str:
        """The path of the file `name`, or of as many of its last parts as can be found, in one of `folders`; or ""."""
        parts = inner_parts(name)
        for first in range(len(parts)):
            for folder in folders:
                if (path := self._walk(folder, parts[first:])) and self._filesystem.isfile(path):
                    return path
        return ""

    def _walk(self, folder: str, parts: Sequence[str]) -> str:
        path = folder
        for part in map(_folded, parts):
            plain, other = posixpath.join(path, part), self._names(path).get(part)
            is_there = self._filesystem.exists(plain)
            if other == "" or (other is None) is not is_there:
                return ""
            path = plain if other is None else posixpath.join(path, other)
        return path

    def _other_names(self, folder: str) -> dict[str, str]:
        """Folded name -> name of the entries whose names are not folded already, "" if several are folded to one."""
        found: dict[str, str] = {}
        if not self._filesystem.isdir(folder):
            return found
        for path in self._filesystem.ls(folder, detail=False):
            name = posixpath.basename(path.rstrip("/"))
            if (folded := _folded(name)) != name:
                found[folded] = "" if folded in found else name
        return found


def inner_parts(name: Any) -> list[str]:
    """The folders and the file that `name` consists of, without any root; [] if it is none or leads out of a folder."""
    if not isinstance(name, str):
        return []
    name = unquote(name.strip()).removeprefix("file://").replace("\\", "/")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or any(mark in name for mark in ("\0", "://", "::")):
        return []
    return parts


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", unquote(name)).casefold())
