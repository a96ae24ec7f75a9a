"""What an exported folder holds: README.md, mmgic.json and data/train-00000-of-000NN.parquet.

`mmgic.json` says how the table was made and what its files are, so that an import can check them and gives the very
table that was exported; `datasets.load_dataset` reads the files alone.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from mmgic.errors import InputError
from mmgic.schema import KEY, VERDICT
from mmgic.sources.reading.files import is_safe_name

RECORD = "mmgic.json"
CARD = "README.md"
DATA = "data"
UNFINISHED = ".mmgic_unfinished"  # folder inside it, where all that is made until it is whole
IMAGE = "image"  # column of embedded image files, of tables with one image a row
IMAGES = "image_files"  # the same where a row has several
MAX_RECORD_BYTES = 1 << 26
PICTURES = "pictures"  # the same of documents, which name no images: those of the rows that they are made of

IMAGE_FILE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])  # as datasets.Image has it


@dataclass(frozen=True)
class ExportRecord:
    """How a table was made (`recipe` is the content of its settings.yaml) and the files that it was written to."""

    recipe: Mapping[str, Any]  # {"stage", "input", "settings"}
    rows_in: int  # of the stage
    seconds: float
    rows: int
    files: Mapping[str, Mapping[str, Any]]  # name -> {"bytes", "sha256"}
    not_embedded: Mapping[str, int] = dataclasses.field(default_factory=dict)  # reason -> images of kept rows

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"


def read_record(text: str, where: str) -> ExportRecord:
    """What `ExportRecord.to_json` wrote. Raises InputError for anything else and for names that leave the folder."""
    try:
        record = ExportRecord(**json.loads(text))
        names = list(record.files)
        sizes = [(int(entry["bytes"]), str(entry["sha256"])) for entry in record.files.values()]
        whole = {"stage", "input", "settings"} <= set(record.recipe) and isinstance(record.recipe["settings"], dict)
    except (ValueError, TypeError, KeyError, AttributeError):
        whole, names, sizes = False, [], []
    if not whole or not sizes:
        raise InputError(f"{where} is not the record of an export; delete it to import the Parquet files without it")
    for name in names:
        if not is_safe_name(name) or not name.startswith(f"{DATA}/") or not name.endswith(".parquet"):
            raise InputError(f"{where} names the file {name!r}, which is no {DATA}/*.parquet; refusing the folder")
    return record


def check_columns(schema: pa.Schema, where: str) -> None:
    """Raises InputError unless `schema` has the columns that every table has."""
    for field in (*KEY, *VERDICT):
        position = schema.get_field_index(field.name)
        if position < 0 or schema.field(position).type != field.type:
            raise InputError(
                f"{where} has no column '{field.name}' of type {field.type}, so it is no table of mmgic; give a folder "
                "that 'mmgic export' wrote"
            )
