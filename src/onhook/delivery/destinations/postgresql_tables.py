"""Tables of the kind `postgresql`: made, given new columns, and written by upserts. Pure: SQL as text.

Invariants: a column is never renamed or removed, and a new one is empty in older rows; so reports that people wrote
stay valid. A row is replaced only by a notification of the same or a later event, so that a replay undoes nothing. All
values of a batch are one parameter, JSON, so that the statement has the same text each time.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, get_args, get_origin

import msgspec

from onhook.appdb.destination_spec import NotifiesOf
from onhook.cdr.record import Record

KEY_COLUMNS: dict[str, tuple[str, ...]] = {"records": ("record_id",), "calls": ("sn", "call_id")}
"""Primary key by table: an update of a record or of a call replaces its row."""

_LEFT_OUT = {"records": frozenset[str](), "calls": frozenset({"record_id"})}
_TYPE_NAMES: dict[type, str] = {str: "text", int: "bigint", bool: "boolean", datetime: "timestamptz"}


def table_columns(table: NotifiesOf) -> dict[str, str]:
    """Return the columns of a table with their types: the members of a record, as the API has them."""
    return {
        field.name: _type_name(field.type)
        for field in msgspec.structs.fields(Record)
        if field.name not in _LEFT_OUT[table]
    }


def _type_name(value_type: Any) -> str:
    """Return the type of a column: text for names of choices, JSON for members that a PBX adds."""
    if get_origin(value_type) is dict:
        return "jsonb"
    return next((_TYPE_NAMES[kind] for kind in (value_type, *get_args(value_type)) if kind in _TYPE_NAMES), "text")


def create_statements(schema_name: str, table: NotifiesOf) -> Sequence[str]:
    """Return the statements that make the table, and add the columns that an earlier Onhook did not have."""
    key, columns = KEY_COLUMNS[table], table_columns(table)
    key_columns = ", ".join(f'"{name}" {columns[name]} NOT NULL' for name in key)
    added_columns = ", ".join(
        f'ADD COLUMN IF NOT EXISTS "{name}" {type_name}' for name, type_name in columns.items() if name not in key
    )
    name = _table_name(schema_name, table)
    return (
        f'CREATE SCHEMA IF NOT EXISTS "{schema_name}"',
        f"CREATE TABLE IF NOT EXISTS {name} ({key_columns}, PRIMARY KEY ({_quoted(key)}))",
        f"ALTER TABLE {name} {added_columns}",
        f'CREATE INDEX IF NOT EXISTS "{table}_started_at" ON {name} ("started_at")',
    )


def missing_columns_query(table: NotifiesOf) -> str:
    """Return the query for the number of columns that the table lacks; its parameters are schema and table."""
    names = ", ".join(f"('{name}')" for name in table_columns(table))
    return (
        f"SELECT count(*) FROM (VALUES {names}) AS c(name) WHERE NOT EXISTS (SELECT 1 FROM information_schema.columns"  # noqa: S608 - names of fields
        " WHERE table_schema = %s AND table_name = %s AND column_name = c.name)"
    )


def upsert_statement(schema_name: str, table: NotifiesOf) -> str:
    """Return the statement that writes a batch; its parameter is a JSON array of rows."""
    key, columns = KEY_COLUMNS[table], table_columns(table)
    definitions = ", ".join(f'"{name}" {type_name}' for name, type_name in columns.items())
    assignments = ", ".join(f'"{name}" = excluded."{name}"' for name in columns if name not in key)
    names = _quoted(tuple(columns))
    return (
        f"INSERT INTO {_table_name(schema_name, table)} AS stored ({names})"  # noqa: S608 - names of fields
        f" SELECT DISTINCT ON ({_quoted(key)}) {names} FROM json_to_recordset(CAST(%s AS json)) AS sent({definitions})"
        f' ORDER BY {_quoted(key)}, "seq" DESC'
        f" ON CONFLICT ({_quoted(key)}) DO UPDATE SET {assignments}"
        " WHERE stored.seq IS NULL OR stored.seq <= excluded.seq"
    )


def _table_name(schema_name: str, table: NotifiesOf) -> str:
    return f'"{schema_name}"."{table}"'


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
