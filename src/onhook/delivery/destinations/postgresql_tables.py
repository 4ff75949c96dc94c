"""Statements of the kind `postgresql` (`sql_tables` has what they share with other engines). Pure: SQL as text.

All values of a batch are one parameter, JSON, so that the statement has the same text each time.
"""

from collections.abc import Mapping, Sequence

from onhook.appdb.destination_spec import NotifiesOf
from onhook.delivery.destinations.row_columns import CALL_COLUMNS, KEY_COLUMNS, ColumnType, row_columns
from onhook.delivery.destinations.sql_tables import (
    STATE_TABLE,
    ExistingColumns,
    create_state_statement,
    missing_columns,
)
from onhook.delivery.destinations.sql_views import ViewExpressions, create_view_statements

TYPE_NAMES: Mapping[ColumnType, str] = {
    "text": "text",
    "integer": "bigint",
    "boolean": "boolean",
    "time": "timestamptz",
    "json": "jsonb",
}

VIEW_EXPRESSIONS = ViewExpressions(
    quote='"',
    integer="bigint",
    local_time="((started_at AT TIME ZONE 'UTC') + CAST(COALESCE(NULLIF(utc_offset, ''), '00:00') AS interval))",
    weekday="EXTRACT(ISODOW FROM {time})",
    party_number="SUBSTRING({party} FROM '<([^<]*)>$')",
    party_name="TRIM(SUBSTRING({party} FROM '^(.*)<[^<]*>$'))",
)


def create_statements(schema_name: str, table: NotifiesOf, existing: ExistingColumns) -> Sequence[str]:
    """Return the statements that make table and views, and add the columns that an earlier Onhook did not have."""
    key, columns = KEY_COLUMNS[table], row_columns(table)
    key_columns = ", ".join(f'"{name}" {TYPE_NAMES[columns[name]]} NOT NULL' for name in key)
    added_columns = ", ".join(
        f'ADD COLUMN IF NOT EXISTS "{name}" {TYPE_NAMES[columns[name]]}'
        for name in missing_columns(table, existing)
        if name not in key
    )
    name = _table_name(schema_name, table)
    return (
        f'CREATE SCHEMA IF NOT EXISTS "{schema_name}"',
        f"CREATE TABLE IF NOT EXISTS {name} ({key_columns}, PRIMARY KEY ({_quoted(key)}))",
        *([f"ALTER TABLE {name} {added_columns}"] if added_columns else []),
        f'CREATE INDEX IF NOT EXISTS "{table}_started_at" ON {name} ("started_at")',
        *(
            [f'CREATE INDEX IF NOT EXISTS "{table}_call" ON {name} ({_quoted(CALL_COLUMNS)})']
            if key != CALL_COLUMNS
            else []
        ),
        create_state_statement(f'"{schema_name}"."{STATE_TABLE}"'),
        *create_view_statements(table, f'"{schema_name}".', VIEW_EXPRESSIONS),
    )


def upsert_statement(schema_name: str, table: NotifiesOf) -> str:
    """Return the statement that writes a batch; its parameter is a JSON array of rows."""
    key, columns = KEY_COLUMNS[table], row_columns(table)
    definitions = ", ".join(f'"{name}" {TYPE_NAMES[column_type]}' for name, column_type in columns.items())
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
