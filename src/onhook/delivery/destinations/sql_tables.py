"""Tables of destinations that are databases, whichever engine they have: what is missing of them. Pure.

Invariants: a column is never renamed or removed, and a new one is empty in older rows; so reports that people wrote
stay valid. A row is replaced only by a notification of the same or a later event, so that a replay undoes nothing.
"""

from collections.abc import Collection, Sequence

from onhook.appdb.destination_spec import NotifiesOf
from onhook.delivery.destinations.row_columns import row_columns
from onhook.delivery.destinations.sql_views import view_columns

STATE_TABLE = "onhook_state"
STATE_COLUMNS = ("name", "seq")
"""A row for each table, with the number of the last control entry of the ledger that was applied to it."""

ExistingColumns = Collection[tuple[str, str]]
"""Pairs of a table or view and a column that a database has."""


def missing_columns(table: NotifiesOf, existing: ExistingColumns) -> Sequence[str]:
    """Return the columns that a table lacks."""
    return [name for name in row_columns(table) if (table, name) not in existing]


def is_complete(table: NotifiesOf, existing: ExistingColumns) -> bool:
    """Return whether a database has the whole table, its state and its views."""
    expected_views = {(view, name) for view, names in view_columns(table).items() for name in names}
    expected_state = {(STATE_TABLE, name) for name in STATE_COLUMNS}
    return not missing_columns(table, existing) and expected_views | expected_state <= set(existing)


def existing_columns_query(table: NotifiesOf) -> str:
    """Return the query for the columns of a table, its state and its views; its parameter is the schema."""
    names = ", ".join(f"'{name}'" for name in (table, STATE_TABLE, *view_columns(table)))
    return (
        "SELECT table_name, column_name FROM information_schema.columns"  # noqa: S608 - constant names
        f" WHERE table_schema = %s AND table_name IN ({names})"
    )


def create_state_statement(state_table: str) -> str:
    """Return the statement that makes the table of states; `state_table` is its quoted name."""
    return f"CREATE TABLE IF NOT EXISTS {state_table} (name varchar(63) NOT NULL PRIMARY KEY, seq bigint NOT NULL)"


def calls_condition(count: int) -> str:
    """Return the condition for rows of so many calls; its parameters are the serial number and id of each."""
    return f"(sn, call_id) IN ({', '.join(['(%s, %s)'] * count)})"
