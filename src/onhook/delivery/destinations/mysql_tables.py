"""Statements of the kind `mysql` (`sql_tables` has what they share with other engines). Pure: SQL as text, and values.

Written so that MariaDB and MySQL both take them. Identities are compared byte by byte. Times are UTC without a zone,
because the type of the engine that has one ends in 2038.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from onhook.appdb.destination_spec import NotifiesOf
from onhook.delivery.destinations.row_columns import CALL_COLUMNS, KEY_COLUMNS, ColumnType, row_columns
from onhook.delivery.destinations.sql_tables import (
    STATE_TABLE,
    ExistingColumns,
    create_state_statement,
    missing_columns,
)
from onhook.delivery.destinations.sql_views import ViewExpressions, create_view_statements

IDENTITY_COLUMNS = frozenset({"record_id", *CALL_COLUMNS})
IDENTITY_TYPE_NAME = "varchar(255) COLLATE utf8mb4_bin"
"""Both together fit in a key of InnoDB, which has 3,072 bytes."""

TYPE_NAMES: Mapping[ColumnType, str] = {
    "text": "text",
    "integer": "bigint",
    "boolean": "boolean",
    "time": "datetime(6)",
    "json": "json",
}

VIEW_EXPRESSIONS = ViewExpressions(
    quote="`",
    integer="signed",
    local_time="ADDTIME(started_at, COALESCE(NULLIF(REPLACE(utc_offset, '+', ''), ''), '00:00'))",
    weekday="(WEEKDAY({time}) + 1)",
    party_number="SUBSTRING_INDEX(LEFT({party}, CHAR_LENGTH({party}) - 1), '<', -1)",
    party_name="TRIM(LEFT({party}, CHAR_LENGTH({party}) - CHAR_LENGTH(SUBSTRING_INDEX({party}, '<', -1)) - 1))",
)


def column_type_name(name: str, column_type: ColumnType) -> str:
    """Return the type of a column."""
    return IDENTITY_TYPE_NAME if name in IDENTITY_COLUMNS else TYPE_NAMES[column_type]


def create_statements(table: NotifiesOf, existing: ExistingColumns) -> Sequence[str]:
    """Return the statements that make table and views, and add the columns that an earlier Onhook did not have."""
    key, columns = KEY_COLUMNS[table], row_columns(table)
    key_columns = ", ".join(f"`{name}` {column_type_name(name, columns[name])} NOT NULL" for name in key)
    additions = [
        f"ADD COLUMN `{name}` {column_type_name(name, columns[name])}"
        for name in missing_columns(table, existing)
        if name not in key
    ]
    # With their columns: there is no index that is made only if it is missing in all versions.
    if (table, "started_at") not in existing:
        additions.append(f"ADD INDEX `{table}_started_at` (`started_at`)")
    if key != CALL_COLUMNS and (table, "sn") not in existing:
        additions.append(f"ADD INDEX `{table}_call` ({_quoted(CALL_COLUMNS)})")
    options = "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"
    return (
        f"CREATE TABLE IF NOT EXISTS `{table}` ({key_columns}, PRIMARY KEY ({_quoted(key)})) {options}",
        *([f"ALTER TABLE `{table}` {', '.join(additions)}"] if additions else []),
        create_state_statement(f"`{STATE_TABLE}`"),
        *create_view_statements(table, "", VIEW_EXPRESSIONS),
    )


def upsert_statement(table: NotifiesOf, count: int) -> str:
    """Return the statement that writes so many rows; its parameters are their values, row after row."""
    key, columns = KEY_COLUMNS[table], list(row_columns(table))
    rows = ", ".join([f"({', '.join(['%s'] * len(columns))})"] * count)
    # Assignments are made in this order, and the condition reads `seq` as it was.
    assigned_columns = [name for name in columns if name not in key and name != "seq"] + ["seq"]
    is_current = "`seq` IS NULL OR VALUES(`seq`) >= `seq`"
    assignments = ", ".join(f"`{name}` = IF({is_current}, VALUES(`{name}`), `{name}`)" for name in assigned_columns)
    return (
        f"INSERT INTO `{table}` ({_quoted(columns)}) VALUES {rows}"  # noqa: S608 - names of fields
        f" ON DUPLICATE KEY UPDATE {assignments}"
    )


def row_values(columns: Mapping[str, ColumnType], body: bytes) -> list[Any]:
    """Return the values of a row, in the order of the columns; a member that the body lacks is empty."""
    members = msgspec.json.decode(body, type=dict[str, Any])
    return [_to_value(members.get(name), column_type) for name, column_type in columns.items()]


def _to_value(member: Any, column_type: ColumnType) -> Any:
    if member is None:
        return None
    if column_type == "json":
        return msgspec.json.encode(member).decode()
    if column_type == "time":
        time = datetime.fromisoformat(member).astimezone(UTC)
        return time.strftime("%Y-%m-%d %H:%M:%S.%f")
    return member


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
