"""SQL of users: allowed queries are answered, attacks are rejected with an error and have no effect."""

import asyncio
import os
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import duckdb
import pytest

from onhook.lib.errors import OnhookError, UsageError
from onhook.store.contract import SQL_ROWS_MAX
from onhook.store.duckdb import DuckDbStore, open_store
from tests.factories import call, record
from tests.store.contract import batch

SECRET = "the secret of a PBX"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DuckDbStore]:
    (tmp_path / "secret.csv").write_text(f"{SECRET}\n")
    opened = await open_store(tmp_path / "calls.duckdb")
    await opened.put(batch(call(record()), call(record(status="BUSY", talk_duration=0))))
    yield opened
    await opened.close()


ALLOWED_QUERIES = (
    ("SELECT count(*) FROM all_calls", [[2]]),
    ("select call_from, talk_duration from all_records where status = 'ANSWERED' -- comment", [["Alice<1001>", 14]]),
    ("WITH busy AS (SELECT * FROM all_calls WHERE status = 'BUSY') SELECT count(*), NULL FROM busy", [[1, None]]),
    ("SELECT started_at FROM all_calls LIMIT 1;", [["2026-04-27 11:04:36"]]),
    ("SELECT n.range, unnest([1, 2]) FROM range(1) n", [[0, 1], [0, 2]]),
    ("SELECT count(*) FROM all_calls a JOIN all_records b USING (sn, call_id) WHERE a.started_at < now()", [[2]]),
    ("VALUES (1.5, true), ('nan'::DOUBLE, false)", [[1.5, True], ["nan", False]]),
    ("SELECT 'COPY x TO y; DROP TABLE legs'", [["COPY x TO y; DROP TABLE legs"]]),
)

ATTACKS = (
    *("", "   ", "x", "SELECT", "SELECT 1; SELECT 2", "SELECT nothing FROM all_calls"),
    # Would change data.
    *("DROP TABLE legs", "DELETE FROM legs", "UPDATE metadata SET position = 0", "CREATE TABLE x AS SELECT 1"),
    *("INSERT INTO metadata VALUES (1, 1)", "CHECKPOINT", "VACUUM", "BEGIN", "COMMIT", "TRUNCATE legs"),
    # Would access files, other databases, extensions, the environment.
    *(
        "SELECT * FROM read_csv('{directory}/secret.csv')",
        "SELECT * FROM '{directory}/secret.csv'",
        'FROM "{directory}/secret.csv"',
    ),
    *("SELECT * FROM read_text('{directory}/secret.csv')", "SELECT * FROM read_blob('{directory}/secret.csv')"),
    *(
        "SELECT * FROM glob('{directory}/*')",
        "SELECT * FROM sniff_csv('{directory}/secret.csv')",
        "SELECT getenv('HOME')",
    ),
    *("SELECT * FROM read_text('/dev/fd/{descriptor}')", "SELECT * FROM read_text('/proc/self/fd/{descriptor}')"),
    *(
        "COPY all_calls TO '{directory}/out.csv'",
        "COPY legs FROM '{directory}/secret.csv'",
        "EXPORT DATABASE '{directory}/out'",
    ),
    *("ATTACH '{directory}/other.db'", "INSTALL httpfs", "LOAD httpfs", "IMPORT DATABASE '{directory}'"),
    *("SELECT * FROM (SELECT * FROM read_text('{directory}/secret.csv'))", "WITH a AS (FROM glob('/*')) FROM a"),
    *("SELECT (SELECT content FROM read_text('{directory}/secret.csv'))", "SELECT 1 WHERE EXISTS (FROM glob('/*'))"),
    *("SELECT * FROM all_calls JOIN read_text('{directory}/secret.csv') ON true", "SELECT query('SELECT 1')"),
    *("FROM query('SELECT 1')", "FROM query_table('legs')", "FROM read_duckdb('{directory}/calls.duckdb')"),
    # Would reveal or change the engine.
    *(
        "SET memory_limit = '10GB'",
        "RESET memory_limit",
        "PRAGMA database_list",
        "SET enable_external_access = true",
    ),
    *("SELECT * FROM duckdb_settings()", "SELECT current_setting('temp_directory')", "FROM duckdb_databases()"),
    *(
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM legs",
        "SELECT * FROM quarantine",
        "FROM main.legs",
    ),
    *("SHOW TABLES", "DESCRIBE legs", "SUMMARIZE legs", "EXPLAIN ANALYZE SELECT 1", "CALL pragma_version()"),
    *("SELECT pg_sleep(100)", "SELECT sleep_ms(100)", "SELECT nextval('x')", "PIVOT legs ON sn", "EXECUTE x"),
    *("PREPARE x AS SELECT 1", "WITH legs AS (SELECT 1) SELECT * FROM main.legs", "SELECT write_log('x')"),
)


async def test_run_sql_allowed_query_returns_rows(store: DuckDbStore) -> None:
    for sql, rows in ALLOWED_QUERIES:
        assert list((await store.query_sql(sql)).rows) == rows, sql


async def test_run_sql_attack_is_rejected_without_effect(store: DuckDbStore, tmp_path: Path) -> None:
    """The error shows no content of a file."""
    before = names_in(tmp_path)
    opened = os.open(tmp_path / "secret.csv", os.O_RDONLY)
    for attack in ATTACKS:
        with pytest.raises(OnhookError) as caught:
            await store.query_sql(attack.replace("{directory}", str(tmp_path)).replace("{descriptor}", str(opened)))
        assert isinstance(caught.value, UsageError), attack
        assert SECRET not in str(caught.value), attack
    os.close(opened)
    assert names_in(tmp_path) == before
    assert await store.counts() == {"records": 2, "calls": 2, "quarantined": 0, "position": 1}


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


async def test_engine_rejects_attacks_without_validation(store: DuckDbStore, tmp_path: Path) -> None:
    """Each layer of protection works by itself."""
    database = store._database
    for sql in (
        f"SELECT * FROM read_text('{tmp_path}/secret.csv')",  # noqa: S608 - the attack itself
        f"COPY legs TO '{tmp_path}/out.csv'",
        "SET enable_external_access = true",
        "SELECT * FROM read_text('/dev/fd/0')",
    ):
        with pytest.raises(Exception, match=r"file system operations are disabled|[Cc]annot change configuration"):
            await database.read(partial(run, sql))
    with pytest.raises(Exception, match="read-only mode"):
        await database.read(partial(run, "DELETE FROM legs"), can_write=False)


def run(sql: str, connection: duckdb.DuckDBPyConnection) -> list[object]:
    return list(connection.execute(sql).fetchall())


async def test_run_sql_result_is_limited_and_cancellable(store: DuckDbStore) -> None:
    result = await store.query_sql("SELECT range FROM range(1000000)")
    assert (len(result.rows), result.is_truncated) == (SQL_ROWS_MAX, True)
    (cell,) = (await store.query_sql("SELECT repeat('x', 1000000)")).rows[0]
    assert len(str(cell)) == 10_000
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await store.query_sql(
                "SELECT count(*) FROM range(10000000000) a, range(1000) b WHERE a.range * b.range % 7 = 3"
            )
    assert (await store.counts())["calls"] == 2
