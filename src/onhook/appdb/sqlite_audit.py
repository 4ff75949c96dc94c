"""The audit log's part in SQLite: triggers of the writing connection notice changes, and each commit that has some adds
one row, in its own transaction.
"""

import sqlite3
from collections.abc import Sequence

from onhook.appdb.audited_tables import (
    ADD_ENTRY,
    TABLES,
    AuditedTable,
    Change,
    Event,
    decode_change,
    delete_oldest_entries,
    entry_values,
    trigger_condition,
    trigger_event,
    trigger_members,
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
    before = f"json_object({trigger_members(table, 'OLD')})" if event != "insert" else "NULL"
    after = f"json_object({trigger_members(table, 'NEW')})" if event != "delete" else "NULL"
    return (
        f"CREATE TEMP TRIGGER IF NOT EXISTS audit_{table_name}_{event} {trigger_event(table, event)}"
        f" ON main.{table_name} {trigger_condition(table, event, is_distinct='IS NOT')}"
        f" BEGIN INSERT INTO changes VALUES"
        f" ('{table_name}', {'OLD' if event == 'delete' else 'NEW'}.{table.name}, {before}, {after}); END"
    )
