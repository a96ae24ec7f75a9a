"""What a stage does to its rows: a transform takes a list of rows and returns as many, in the same order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from mmgic.errors import InputError, of_the_machine
from mmgic.schema import reject

Row = dict[str, Any]  # of any table; `mmgic.schema` has the rows of each
In = TypeVar("In", bound=Mapping[str, Any])
Out = TypeVar("Out", bound=Mapping[str, Any])
Transform = Callable[[list[Any]], Sequence[Mapping[str, Any]]]


class ColumnFault(RuntimeError):
    """A stage made a row that is not of its table: a fault of ours."""


class EachRow(Generic[In, Out]):
    """A transform made of a function of one row. A row on which the function fails is set aside as `stage_error`.

    What is the machine's fault, such as a full disk, is raised: another machine would make the row.
    """

    def __init__(self, function: Callable[[In], Out], **on_error: Any) -> None:
        self.function = function
        self.on_error = on_error  # columns of a failed row that its input does not have

    def __call__(self, rows: list[In]) -> list[Out | Row]:
        return [self.one(row) for row in rows]

    def one(self, row: In) -> Out | Row:
        try:
            return self.function(row)
        except InputError:
            raise  # it concerns every row
        except Exception as error:
            if of_the_machine(error):
                raise
            return {**row, **self.on_error, **reject("stage_error", f"{type(error).__name__}: {error}")}


def to_table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema, stage: str = "") -> pa.Table:
    """`rows` in the columns of `schema`; kept ones have these columns and no others.

    A row that was set aside has an empty value if it has none, and loses columns that are not the table's. Raises
    ColumnFault for a kept row that lacks a column or has one too many, and ValueError for one with a null.
    """
    known = frozenset(schema.names)
    table = pa.Table.from_pylist([_complete(row, schema, known, stage) for row in rows], schema=schema)
    if any(_has_null(column) for column in table.columns):
        _check_values(rows, schema)
    return table


def blank_row(schema: pa.Schema) -> Row:
    """A row that is empty in every column, and set aside."""
    return {field.name: _blank(field.type) for field in schema}


def _complete(row: Mapping[str, Any], schema: pa.Schema, known: frozenset[str], stage: str) -> Mapping[str, Any]:
    if not row["keep"]:
        return {**blank_row(schema), **{name: value for name, value in row.items() if value is not None}}
    if row.keys() != known:
        lacking, unknown = sorted(known - row.keys()), sorted(row.keys() - known)
        what = f"lacks the column '{lacking[0]}'" if lacking else f"has a column '{unknown[0]}' that its table has not"
        raise ColumnFault(f"stage '{stage}': the kept row {row.get('source')}:{row.get('image_id')} {what}")
    return row


def _check_values(rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> None:
    for row in rows:
        for field in schema if row["keep"] else ():
            if _has_null(pa.array([row[field.name]], field.type)):
                raise ValueError(f"the column '{field.name}' of {row['source']}:{row['image_id']} has no value")


def _has_null(array: pa.Array | pa.ChunkedArray) -> bool:
    """Whether a value, or a part of one, is null."""
    if array.null_count:
        return True
    if pa.types.is_list(array.type) or pa.types.is_fixed_size_list(array.type):
        return _has_null(pc.list_flatten(array))
    return pa.types.is_struct(array.type) and any(_has_null(part) for part in array.flatten())


def _blank(kind: pa.DataType) -> Any:
    if pa.types.is_list(kind):
        return []
    if pa.types.is_boolean(kind):
        return False
    return "" if pa.types.is_string(kind) else 0
