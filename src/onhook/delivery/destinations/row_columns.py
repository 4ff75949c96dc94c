"""Columns of the rows that some kinds of destinations write: the members of a record or of a call. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, get_args, get_origin

import msgspec

from onhook.appdb.destination_spec import NotifiesOf
from onhook.cdr.record import Record

ColumnType = Literal["text", "integer", "boolean", "time", "json"]

KEY_COLUMNS: Mapping[str, tuple[str, ...]] = {"records": ("record_id",), "calls": ("sn", "call_id")}
"""Identity of a row by subject: a row of an update of a record or of a call has the same."""

CALL_COLUMNS = ("sn", "call_id")
"""The identity of a call."""

NO_ROW = b"{}"
"""Body of a test without a sample event: nothing is written."""

_LEFT_OUT = {"records": frozenset[str](), "calls": frozenset({"record_id"})}
_COLUMN_TYPES: Mapping[type, ColumnType] = {str: "text", int: "integer", bool: "boolean", datetime: "time"}


def row_columns(subject: NotifiesOf) -> dict[str, ColumnType]:
    """Return the columns with their types: the members of a record, as the API has them."""
    return {
        field.name: _column_type(field.type)
        for field in msgspec.structs.fields(Record)
        if field.name not in _LEFT_OUT[subject]
    }


def _column_type(value_type: Any) -> ColumnType:
    """Return the type of a column: text for names of choices, JSON for members that a PBX adds."""
    if get_origin(value_type) is dict:
        return "json"
    kinds = (value_type, *get_args(value_type))
    return next((_COLUMN_TYPES[kind] for kind in kinds if kind in _COLUMN_TYPES), "text")
