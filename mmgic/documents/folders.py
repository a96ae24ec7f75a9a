"""Where a run's documents lie, and the token store that is made of them.

Recipes and templates lie side by side and read the same visual tokens. What depends on the recipe lies in a folder of
the recipe's name; documents with a name of their own (`documents.name`) lie beside those without one:

    mmgic/documents/CLDR/repeat_0       ic/documents          sft/playback/CLDR         store/CLDR
    mmgic/documents/C/repeat_0                                sft/playback/C            store/C
    mmgic/documents-short/C/repeat_0    ic/documents-short    sft/playback-short/C      store-short/C
"""

from __future__ import annotations

from collections.abc import Iterable

from mmgic.settings import DocumentSettings
from mmgic.stages.tables import Table, open_table


def documents_folder(folder: str, documents: DocumentSettings, *, of_recipe: bool = False) -> str:
    """The folder of these documents that takes the place of `folder`, such as "ic/documents" or "store"."""
    named = f"{folder}-{documents.name}" if documents.name else folder
    return f"{named}/{documents.recipe}" if of_recipe else named


def tokens_tables(documents: str) -> list[str]:
    """The names of the tables whose rows the table `documents` may be made of: its corpus's, then those played back."""
    return list(dict.fromkeys([f"{documents.partition('/')[0]}/tokens", "mmgic/tokens", "ic/tokens"]))


def document_tables(tables: Iterable[Table], documents: DocumentSettings) -> list[Table]:
    """Those of `tables` whose rows are these documents, not those of another recipe or name."""
    return [
        table
        for table in tables
        if _belongs(table.name, documents) and "input_ids" in open_table(table.folder).schema.names
    ]


def _belongs(name: str, documents: DocumentSettings) -> bool:
    """Whether the table called `name` is of this recipe, or of any, and has this name or no name."""
    _, kind, *recipe = name.split("/")
    return kind.partition("-")[2] == documents.name and recipe[:1] in ([], [documents.recipe])
