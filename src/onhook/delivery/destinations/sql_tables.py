"""Tables of destinations that are databases, whichever engine they have: columns, keys, and what is missing. Pure.

Invariants: a column is never renamed or removed, and a new one is empty in older rows; so reports that people wrote
stay valid. A row is replaced only by a notification of the same or a later event, so that a replay undoes nothing.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, get_args, get_origin

import msgspec

from onhook.appdb.destination_spec import NotifiesOf
from onhook.cdr.record import Record
from onhook.delivery.destinations.sql_views import view_columns

ColumnType = Literal["text", "integer", "boolean", "time", "json"]

KEY_COLUMNS: Mapping[str, tuple[str, ...]] = {"records": ("record_id",), "calls": ("sn", "call_id")}
"""Primary key by table: an update of a record or of a call replaces its row."""

CALL_COLUMNS = ("sn", "call_id")
"""The identity of a call, in both tables."""

ExistingColumns = Collection[tuple[str, str]]
"""Pairs of a table or view and a column that a database has."""

_LEFT_OUT = {"records": frozenset[str](), "calls": frozenset({"record_id"})}
_COLUMN_TYPES: Mapping[type, ColumnType] = {str: "text", int: "integer", bool: "boolean", datetime: "time"}


def table_columns(table: NotifiesOf) -> dict[str, ColumnType]:
    """Return the columns of a table with their types: the members of a record, as the API has them."""
    return {
        field.name: _column_type(field.type)
        for field in msgspec.structs.fields(Record)
        if field.name not in _LEFT_OUT[table]
    }


def missing_columns(table: NotifiesOf, existing: ExistingColumns) -> Sequence[str]:
    """Return the columns that a table lacks."""
    return [name for name in table_columns(table) if (table, name) not in existing]


def is_complete(table: NotifiesOf, existing: ExistingColumns) -> bool:
    """Return whether a database has the whole table and its views."""
    expected_views = {(view, name) for view, names in view_columns(table).items() for name in names}
    return not missing_columns(table, existing) and expected_views <= set(existing)


def existing_columns_query(table: NotifiesOf) -> str:
    """Return the query for the columns of a table and its views; its parameter is the schema."""
    names = ", ".join(f"'{name}'" for name in (table, *view_columns(table)))
    return (
        "SELECT table_name, column_name FROM information_schema.columns"  # noqa: S608 - constant names
        f" WHERE table_schema = %s AND table_name IN ({names})"
    )


def _column_type(value_type: Any) -> ColumnType:
    """Return the type of a column: text for names of choices, JSON for members that a PBX adds."""
    if get_origin(value_type) is dict:
        return "json"
    kinds = (value_type, *get_args(value_type))
    return next((_COLUMN_TYPES[kind] for kind in kinds if kind in _COLUMN_TYPES), "text")
