"""What a stage does to its rows: a transform takes a list of rows and returns as many, in the same order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from mmgic.errors import InputError
from mmgic.schema import reject

Row = dict[str, Any]
Transform = Callable[[list[Row]], list[Row]]


class EachRow:
    """A transform made of a function of one row. A row on which the function fails is set aside as `stage_error`."""

    def __init__(self, function: Callable[[Row], Row], **on_error: Any) -> None:
        self.function = function
        self.on_error = on_error  # columns of a failed row that its input does not have

    def __call__(self, rows: list[Row]) -> list[Row]:
        return [self.one(row) for row in rows]

    def one(self, row: Row) -> Row:
        try:
            return self.function(row)
        except InputError:
            raise  # it concerns every row
        except Exception as error:
            return {**row, **self.on_error, **reject("stage_error", f"{type(error).__name__}: {error}")}


def to_table(rows: list[Row], schema: pa.Schema) -> pa.Table:
    """`rows` in the columns of `schema`. A row that was set aside early has an empty value where it has no column."""
    blank = {field.name: _blank(field.type) for field in schema}
    return pa.Table.from_pylist([{**blank, **row} for row in rows], schema=schema)


def _blank(kind: pa.DataType) -> Any:
    if pa.types.is_list(kind):
        return []
    if pa.types.is_boolean(kind):
        return False
    return "" if pa.types.is_string(kind) else 0
