"""Arrow schemas of row types: a column has the Arrow type of its annotation."""

from __future__ import annotations

from typing import Annotated, Any, get_args, get_origin, get_type_hints, is_typeddict

import pyarrow as pa

_PLAIN = {str: pa.string(), bool: pa.bool_(), float: pa.float64()}


def arrow_schema(row: type) -> pa.Schema:
    """The schema of the TypedDict `row`, columns in the order of its bases and then its own.

    A TypedDict in a column is a struct, list[...] a list; Annotated[..., type] says another Arrow type than a value
    has by itself.
    """
    return pa.schema(_fields(row))


def _fields(row: type) -> list[pa.Field]:
    return [pa.field(name, _arrow_type(hint)) for name, hint in get_type_hints(row, include_extras=True).items()]


def _arrow_type(hint: Any) -> pa.DataType:
    if is_typeddict(hint):
        return pa.struct(_fields(hint))
    if get_origin(hint) is Annotated:
        return next(extra for extra in get_args(hint) if isinstance(extra, pa.DataType))
    if get_origin(hint) is list:
        return pa.list_(_arrow_type(get_args(hint)[0]))
    return _PLAIN[hint]
