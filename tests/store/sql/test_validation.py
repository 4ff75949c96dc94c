"""Which SQL runs: what a query names is resolved as the engine resolves it."""

from collections.abc import Iterator

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.store.sql.query_process import run_query, validate_sql
from onhook.store.sql.wire import QueryError
from tests.store.sql.attacks import ATTACKS

ALLOWED_QUERIES = (
    "SELECT count(*) FROM calls",
    "select call_from, talk_duration from records where status = 'ANSWERED' -- comment",
    "WITH busy AS (SELECT * FROM calls WHERE status = 'BUSY') SELECT count(*), NULL FROM busy",
    "WITH a AS (SELECT 1 x), b AS (SELECT x FROM a) SELECT * FROM b, (SELECT * FROM a)",
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT max(n) FROM t",
    "WITH legs AS (SELECT * FROM calls) SELECT * FROM legs",
    'WITH "My Calls" AS (SELECT * FROM calls) SELECT * FROM "my calls"',
    "WITH a AS (WITH b AS (SELECT * FROM calls) SELECT * FROM b) SELECT (SELECT count(*) FROM a)",
    "SELECT n.range, unnest([1, 2]) FROM range(1) n",
    "SELECT count(*) FROM calls a JOIN records b USING (sn, call_id) WHERE a.started_at < now()",
    "(SELECT sn FROM calls UNION SELECT sn FROM records) ORDER BY 1",
    "SELECT list_transform([1, 2], lambda x: x + 1), CASE WHEN 1 < 2 THEN 'COPY x TO y; DROP TABLE legs' END",
    "VALUES (1.5, true), ('nan'::DOUBLE, false)",
    "SELECT call_from FROM calls QUALIFY row_number() OVER (PARTITION BY call_from ORDER BY started_at) = 1",
)

# The names of the views, of tables and views that a query must not see, and of subqueries.
NAMES = ("records", "calls", "legs", "quarantine", "duckdb_views", "a")


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"python_enable_replacements": False}) as opened:
        for name in ("records", "calls", "legs", "quarantine", "about", "metadata", "call_rows"):
            opened.execute(f"CREATE TABLE {name} (x INTEGER, sn VARCHAR)")
        yield opened


@pytest.mark.parametrize("sql", ALLOWED_QUERIES)
def test_validate_sql_safe_select_is_allowed(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    validate_sql(connection, sql)


@pytest.mark.parametrize("sql", ATTACKS)
def test_validate_sql_attack_is_refused(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    with pytest.raises(QueryError) as caught:
        run_query(connection, sql)
    assert caught.value.failure.kind == "usage"


def test_validate_sql_unknown_table_error_names_what_is_allowed(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(QueryError) as caught:
        validate_sql(connection, "SELECT * FROM main.quarantine")
    assert caught.value.failure.values == {"name": "main.quarantine"}
    assert "`records` or `calls`" in caught.value.failure.hint


SELECT_ONE = "SELECT 1 AS x FROM"


def _selects() -> st.SearchStrategy[str]:
    """Return queries of nested, joined and combined subqueries, each with names of its own."""
    name = st.sampled_from(NAMES)

    def extend(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.one_of(
            st.tuples(name, inner, inner).map(
                lambda parts: f"WITH RECURSIVE {parts[0]} AS ({parts[1]} UNION ALL {parts[2]}) {SELECT_ONE} {parts[0]}"
            ),
            st.tuples(name, inner, inner).map(lambda parts: f"WITH {parts[0]} AS ({parts[1]}) {parts[2]}"),
            st.tuples(inner, inner).map(lambda parts: f"{SELECT_ONE} ({parts[0]}) p, ({parts[1]}) q"),
            st.tuples(inner, inner).map(lambda parts: f"SELECT ({parts[0]} LIMIT 1) AS x WHERE EXISTS ({parts[1]})"),
            st.tuples(inner, inner).map(lambda parts: f"({parts[0]}) UNION ALL ({parts[1]})"),
        )

    return st.recursive(name.map(lambda table: f"{SELECT_ONE} {table}"), extend, max_leaves=6)


@given(sql=_selects())
def test_validate_sql_allowed_query_reads_the_views_alone(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """The oracle is the engine: it says which tables of its own a query reads."""
    try:
        validate_sql(connection, sql)
    except (QueryError, duckdb.Error):
        return
    try:
        table_names = connection.get_table_names(sql, qualified=True)
    except duckdb.Error:  # the engine does not run it either, as for a circular reference
        return
    assert table_names <= {"records", "calls"}
    assert "duckdb_views" not in connection.execute(f"EXPLAIN {sql}").fetchall()[0][1].lower()
