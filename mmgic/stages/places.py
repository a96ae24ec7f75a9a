"""Where the files of a run lie."""

from __future__ import annotations

from dataclasses import dataclass

from mmgic.files import absolute
from mmgic.stages.tables import Table, find_table, finished_tables


@dataclass(frozen=True)
class Places:
    """The output folder of a run. A stage's name is the address of its table in it."""

    output: str

    def folder(self, name: str) -> str:
        """The folder of the table, or of other files, that is called `name`, such as "mmgic/tokens"."""
        return f"{absolute(self.output)}/{name}"

    def table(self, name: str) -> Table | None:
        """The table that the stage `name` made, or None if it is not finished."""
        return find_table(self.folder(name))

    def tables(self) -> list[Table]:
        """The finished tables, each after the one that it was made from."""
        return [table for table in finished_tables(self.output) if table.folder == self.folder(table.name)]
