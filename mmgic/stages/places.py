"""Where the files of a run lie. Tables name images in a way that stays true when the run or its data are moved.

A path in a table begins with the place that it lies in: `{output}/ic/shards/0a1b.tar#bytes=512-9000` is a part of the
run's own output, `{data}/train2017/1.jpg` lies in the folder of the row's source, and `{images}/1.jpg` (`{images_2}`,
...) in an image folder that the source has elsewhere. In memory, paths are whole: stages resolve them as they read rows
and name them by their place again as they write rows. A path outside of all these places stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from mmgic.paths import absolute
from mmgic.stages.tables import Table, find_table, finished_tables

Row = dict[str, Any]

_PLACED = re.compile(r"\{(\w+)\}(?=/|$)")


@dataclass(frozen=True)
class Places:
    """The output folder of a run, in which a stage's name is the address of its table, and the folders of its data."""

    output: str
    sources: Mapping[str, Sequence[str]] = field(default_factory=dict)  # name -> own folder, then those of its images

    def folder(self, name: str) -> str:
        """The folder of the table, or of other files, that is called `name`, such as "mmgic/tokens"."""
        return f"{absolute(self.output)}/{name}"

    def table(self, name: str) -> Table | None:
        """The table that the stage `name` made, or None if it is not finished."""
        return find_table(self.folder(name))

    def tables(self) -> list[Table]:
        """The finished tables, each after the one that it was made from."""
        return [table for table in finished_tables(self.output) if table.folder == self.folder(table.name)]

    def whole_path(self, stored: str, source: str) -> str:
        """The path of what a row of `source` stores."""
        mark = _PLACED.match(stored)
        folder = self._folders(source).get(mark[1]) if mark else None
        return folder + stored[mark.end() :] if mark and folder else stored

    def stored_path(self, path: str, source: str) -> str:
        """How a row of `source` stores a path."""
        for name, folder in self._folders(source).items():
            if path.startswith(f"{folder}/"):
                return f"{{{name}}}{path[len(folder) :]}"
        return path

    def resolve(self, row: Mapping[str, Any]) -> Row:
        """A row as its table stores it, with whole paths."""
        return _with_paths(row, lambda path: self.whole_path(path, row["source"]))

    def store(self, row: Mapping[str, Any]) -> Row:
        """A row with whole paths, as its table stores it; `detail` may quote a path too."""
        stored = _with_paths(row, lambda path: self.stored_path(path, row["source"]))
        if detail := row.get("detail"):
            for name, folder in self._folders(row["source"]).items():
                detail = detail.replace(f"{folder}/", f"{{{name}}}/")
            stored["detail"] = detail
        return stored

    def _folders(self, source: str) -> Mapping[str, str]:
        """The folders that a row of `source` may name, by the names of their places."""
        return self._named.get(source, self._named[""])

    @cached_property
    def _named(self) -> Mapping[str, Mapping[str, str]]:
        return {source: self._of(*folders) for source, folders in {**self.sources, "": ("",)}.items()}

    def _of(self, data: str, *images: str) -> Mapping[str, str]:
        numbered = {"images" if i == 1 else f"images_{i}": folder for i, folder in enumerate(images, 1)}
        named = {"data": data, **numbered, "output": self.output}
        whole = ((name, absolute(folder)) for name, folder in named.items() if folder)
        return dict(sorted(whole, key=lambda place: -len(place[1])))  # one may lie in another: the nearest is named


def _with_paths(given: Mapping[str, Any], change: Callable[[str], str]) -> Row:
    """The row with its image paths changed."""
    row = dict(given)
    if path := row.get("image_path"):
        row["image_path"] = change(path)
    if images := row.get("images"):
        row["images"] = [{**image, "image_path": change(image["image_path"])} for image in images]
    return row
