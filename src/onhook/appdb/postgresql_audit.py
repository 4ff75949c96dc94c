"""The audit log's part in PostgreSQL: triggers notice changes, and each commit that has some adds one row, in its own
transaction.
"""

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
from onhook.appdb.postgresql_connection import SCHEMA, Connection
from onhook.appdb.postgresql_statements import translate

_SELECT_CHANGES = (
    "SELECT change_table, name, before, after FROM changes"
    " WHERE transaction_id = pg_current_xact_id() ORDER BY change_id"
)
_SELECT_TRIGGERS = (
    "SELECT tgname, tgrelid::regclass::text FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid"
    " WHERE NOT tgisinternal AND starts_with(tgname, 'audit_') AND relnamespace = to_regnamespace($1)"
)


async def create_triggers(connection: Connection) -> None:
    """Create the triggers anew where others are declared than the database has. In a transaction of a writer."""
    if await has_triggers(connection):
        return
    for trigger, table_name in await connection.fetch(_SELECT_TRIGGERS, SCHEMA):
        await connection.execute(f"DROP TRIGGER {trigger} ON {table_name}")
    for statement in _statements():
        await connection.execute(statement)
    await connection.execute("DELETE FROM audit_triggers")
    await connection.execute("INSERT INTO audit_triggers VALUES ($1)", _definition())


async def has_triggers(connection: Connection) -> bool:
    """Return whether the database has the triggers as they are declared."""
    return bool(await connection.fetchval("SELECT definition FROM audit_triggers") == _definition())


async def record_changes(connection: Connection, origin: Origin, noted: Sequence[Change] = ()) -> None:
    """Add one entry for the changes of the current transaction, if there are any."""
    rows = await connection.fetch(_SELECT_CHANGES)
    changes = [*(decode_change(tuple(row)) for row in rows), *noted]
    if not changes:
        return
    await discard_changes(connection)
    for sql, values in ((ADD_ENTRY, entry_values(changes, origin)), delete_oldest_entries()):
        text, parameters = translate(sql, values)
        await connection.execute(text, *parameters)


async def discard_changes(connection: Connection) -> None:
    """Forget the changes, those of other programs too, whose transactions record none."""
    await connection.execute("DELETE FROM changes")


def _definition() -> str:
    return "\n".join(_statements())


def _statements() -> list[str]:
    return [statement for name, table in TABLES.items() for statement in _trigger_statements(name, table)]


def _trigger_statements(name: str, table: AuditedTable) -> list[str]:
    function = (
        f"CREATE OR REPLACE FUNCTION {SCHEMA}.audit_{name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" {' '.join(_insert(name, table, event) for event in table.events)} RETURN NULL; END $$"
    )
    return [function, *(_trigger(name, table, event) for event in table.events)]


def _insert(name: str, table: AuditedTable, event: Event) -> str:
    before = f"json_build_object({trigger_members(table, 'OLD')})::text" if event != "insert" else "NULL"
    after = f"json_build_object({trigger_members(table, 'NEW')})::text" if event != "delete" else "NULL"
    return (
        f"IF TG_OP = '{event.upper()}' THEN INSERT INTO {SCHEMA}.changes (change_table, name, before, after) VALUES"
        f" ('{name}', {'OLD' if event == 'delete' else 'NEW'}.\"{table.name}\"::text, {before}, {after}); END IF;"
    )


def _trigger(name: str, table: AuditedTable, event: Event) -> str:
    return (
        f"CREATE TRIGGER audit_{name}_{event} {trigger_event(table, event)} ON {SCHEMA}.{name} FOR EACH ROW"
        f" {trigger_condition(table, event, is_distinct='IS DISTINCT FROM')} EXECUTE FUNCTION {SCHEMA}.audit_{name}()"
    )
