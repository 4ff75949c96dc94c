"""Tables of calls in databases: what is documented of them, and how they grow."""

from pathlib import Path
from typing import Any, get_args

import pytest

from onhook.appdb.destination_spec import NotifiesOf
from onhook.delivery.destinations import mysql_tables, postgresql_tables
from onhook.delivery.destinations.row_columns import row_columns
from onhook.delivery.destinations.sql_tables import STATE_COLUMNS, STATE_TABLE, is_complete, missing_columns
from onhook.delivery.destinations.sql_views import view_columns

PAGE = Path(__file__).parents[3] / "docs" / "sql-tables.md"
TABLES = [table for table in get_args(NotifiesOf) if table in ("records", "calls")]


def all_columns(table: Any) -> set[tuple[str, str]]:
    columns = {(table, name) for name in row_columns(table)}
    columns |= {(STATE_TABLE, name) for name in STATE_COLUMNS}
    return columns | {(view, name) for view, names in view_columns(table).items() for name in names}


def test_sql_tables_docs_name_each_column() -> None:
    page = PAGE.read_text()
    for name, column_type in row_columns("records").items():
        types = (postgresql_tables.TYPE_NAMES[column_type], mysql_tables.column_type_name(name, column_type).split()[0])
        assert f"| `{name}` | `{types[0]}` | `{types[1]}` |" in page


@pytest.mark.parametrize("table", TABLES)
def test_sql_tables_docs_name_each_view_with_its_columns(table: Any) -> None:
    page = PAGE.read_text()
    for view, names in view_columns(table).items():
        assert f"`{view}`" in page
        assert all(f"`{name}`" in page for name in names)


@pytest.mark.parametrize("table", TABLES)
def test_sql_tables_complete_database_lacks_nothing(table: Any) -> None:
    assert is_complete(table, all_columns(table))
    assert not missing_columns(table, all_columns(table))


@pytest.mark.parametrize("table", TABLES)
def test_sql_tables_each_missing_column_is_added_alone(table: Any) -> None:
    key = ("record_id",) if table == "records" else ("sn", "call_id")
    for name in set(row_columns(table)) - set(key):
        existing = all_columns(table) - {(table, name)}
        assert not is_complete(table, existing)
        for statements in (
            postgresql_tables.create_statements("public", table, existing),
            mysql_tables.create_statements(table, existing),
        ):
            assert "".join(statements).count("ADD COLUMN") == 1


def test_sql_tables_missing_view_is_noticed() -> None:
    assert not is_complete("calls", {pair for pair in all_columns("calls") if pair[0] != "calls_by_day"})
