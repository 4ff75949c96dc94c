"""The audit log's part in SQLite: triggers of the writing connection notice changes, and each commit that has some adds
one row, in its own transaction.
"""

import sqlite3
from collections.abc import Sequence

from onhook.appdb.audited_tables import (
    ADD_ENTRY,
    MASK,
    TABLES,
    AuditedTable,
    Change,
    Event,
    decode_change,
    delete_oldest_entries,
    entry_values,
)
from onhook.appdb.origin import Origin


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
    changes = [*map(decode_change, rows), *noted]
    if not changes:
        return
    connection.execute("DELETE FROM changes")
    connection.execute(ADD_ENTRY, entry_values(changes, origin))
    connection.execute(*delete_oldest_entries())


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
