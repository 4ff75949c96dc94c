"""The audit log's part in SQLite: triggers of the writing connection notice changes, and each commit that has some adds
one row, in its own transaction.
"""

import sqlite3
from collections.abc import Sequence

import msgspec

from onhook.appdb.audited_tables import (
    MASK,
    TABLES,
    AuditedTable,
    Change,
    Event,
    delete_oldest_entries,
    describe_changes,
    encode_values,
)
from onhook.appdb.origin import Origin
from onhook.lib.clock import SystemClock


def create_triggers(connection: sqlite3.Connection) -> None:
    """Create the triggers, which belong to this connection and not to the file."""
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute(
        "CREATE TEMP TABLE IF NOT EXISTS changes (change_table TEXT, name TEXT, before TEXT, after TEXT)"
    )
    for table_name, table in TABLES.items():
        for event in table.events:
            connection.execute(_trigger(table_name, table, event))


def record_changes(connection: sqlite3.Connection, origin: Origin, noted: Sequence[Change] = ()) -> None:
    """Add one entry for the changes of the current transaction, if there are any."""
    rows = connection.execute("SELECT change_table, name, before, after FROM changes ORDER BY rowid").fetchall()
    changes = [*map(_change, rows), *noted]
    if not changes:
        return
    connection.execute("DELETE FROM changes")
    connection.execute(
        "INSERT INTO audit (created_at, actor, credential, address, way, action, before, after, status)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 200)",
        (
            *(SystemClock().microseconds(), origin.actor, origin.credential, origin.address, origin.way),
            *(describe_changes(changes), encode_values(changes, "before"), encode_values(changes, "after")),
        ),
    )
    connection.execute(*delete_oldest_entries())


def _change(row: tuple[str, str, str | None, str | None]) -> Change:
    table, name, before, after = row
    # Texts that are not UTF-8 are of another class; a row with one can be removed too.
    return Change(
        table=table,
        name=str(name),
        before=None if before is None else msgspec.json.decode(str(before)),
        after=None if after is None else msgspec.json.decode(str(after)),
    )


def _trigger(table_name: str, table: AuditedTable, event: Event) -> str:
    columns = (*table.columns, *table.secrets)
    conditions = [f"({table.condition})"] if table.condition else []
    if event == "update":
        conditions.append(f"({' OR '.join(f'OLD.{column} IS NOT NEW.{column}' for column in columns)})")
    return (
        f"CREATE TEMP TRIGGER IF NOT EXISTS audit_{table_name}_{event} AFTER {event.upper()}"
        f"{' OF ' + ', '.join(columns) if event == 'update' else ''} ON main.{table_name}"
        f"{' WHEN ' + ' AND '.join(conditions) if conditions else ''}"
        f" BEGIN INSERT INTO changes VALUES ('{table_name}', {'OLD' if event == 'delete' else 'NEW'}.{table.name},"
        f" {_values('OLD', table) if event != 'insert' else 'NULL'},"
        f" {_values('NEW', table) if event != 'delete' else 'NULL'}); END"
    )


def _values(side: str, table: AuditedTable) -> str:
    members = [f"'{column}', {side}.{column}" for column in table.columns]
    members += [
        f"'{column}', CASE WHEN {side}.{column} IS NULL OR {side}.{column} = '' THEN '' ELSE '{MASK}' END"
        for column in table.secrets
    ]
    return f"json_object({', '.join(members)})"
