"""Hostile queries: none may read, change or reveal anything but the two views.

`{directory}` is a directory with the file `secret.csv`, which contains SECRET; `{descriptor}` an open file.
"""

from typing import Final

SECRET: Final = "the secret of a PBX"

NO_QUERY: Final = ("x", "SELECT", "SELECT 1; SELECT 2", "SELECT 1;; DROP TABLE legs", "EXPLAIN SELECT 1")

WRITING: Final = (
    *("DROP TABLE legs", "DELETE FROM legs", "UPDATE call_rows SET sn = ''", "CREATE TABLE x AS SELECT 1"),
    *("CHECKPOINT", "VACUUM", "BEGIN", "COMMIT", "TRUNCATE legs", "CREATE MACRO m() AS 1", "CREATE VIEW v AS SELECT 1"),
    *("CREATE MACRO records() AS TABLE FROM legs", "INSERT INTO legs (sn) VALUES ('x')", "ALTER TABLE legs DROP sn"),
    "WITH a AS (INSERT INTO legs (sn) VALUES ('x') RETURNING *) SELECT * FROM a",
    "WITH a AS (DELETE FROM legs RETURNING *) SELECT * FROM a",
    "CREATE TYPE t AS ENUM ('a')",
)

READING_FILES: Final = (
    *("SELECT * FROM read_csv('{directory}/secret.csv')", "SELECT * FROM '{directory}/secret.csv'"),
    *('FROM "{directory}/secret.csv"', "SELECT * FROM read_blob('{directory}/secret.csv')", "FROM read_json('/a')"),
    *("SELECT * FROM read_text('{directory}/secret.csv')", "SELECT * FROM glob('{directory}/*')"),
    *("SELECT * FROM sniff_csv('{directory}/secret.csv')", "SELECT getenv('HOME')", "FROM read_parquet('/a')"),
    *("SELECT * FROM read_text('/dev/fd/{descriptor}')", "SELECT * FROM read_text('/proc/self/environ')"),
    *("SELECT * FROM read_text('http://127.0.0.1/')", "COPY records TO '{directory}/out.csv'"),
    *("COPY legs FROM '{directory}/secret.csv'", "EXPORT DATABASE '{directory}/out'", "IMPORT DATABASE '{directory}'"),
    *("ATTACH '{directory}/other.db'", "ATTACH ':memory:' AS m", "INSTALL httpfs", "LOAD httpfs", "LOAD '/a.so'"),
    *("SELECT * FROM (SELECT * FROM read_text('{directory}/secret.csv'))", "WITH a AS (FROM glob('/*')) FROM a"),
    *("SELECT (SELECT content FROM read_text('{directory}/secret.csv'))", "SELECT 1 WHERE EXISTS (FROM glob('/*'))"),
    *("SELECT * FROM records JOIN read_text('{directory}/secret.csv') ON true", "SELECT query('SELECT 1')"),
    *("FROM query('SELECT 1')", "FROM query_table('legs')", "FROM read_duckdb('{directory}/calls.duckdb')"),
    *("SELECT * FROM calls, LATERAL (FROM read_text('{directory}/secret.csv'))", "FROM range((FROM glob('/*')))"),
)

REVEALING_THE_ENGINE: Final = (
    *("SET memory_limit = '10GB'", "RESET memory_limit", "PRAGMA database_list", "SET enable_external_access = true"),
    *("SELECT * FROM duckdb_settings()", "SELECT current_setting('temp_directory')", "FROM duckdb_databases()"),
    *("SHOW TABLES", "DESCRIBE records", "SUMMARIZE calls", "EXPLAIN ANALYZE SELECT 1", "CALL pragma_version()"),
    *("SELECT pg_sleep(100)", "SELECT sleep_ms(100)", "SELECT nextval('x')", "PIVOT calls ON sn", "EXECUTE x"),
    *("PREPARE x AS SELECT 1", "SELECT write_log('x')", "SELECT * FROM (DESCRIBE calls)", "USE memory"),
    *("FROM pragma_table_info('legs')", "FROM duckdb_tables()", "FROM duckdb_logs()", "FROM test_all_types()"),
    *("SELECT * FROM (PIVOT calls ON status IN ('a') USING count(*))", "SET VARIABLE a = 1", "FROM repeat_row(1)"),
)

NAMING_OTHER_TABLES: Final = (
    *("SELECT * FROM information_schema.tables", "SELECT * FROM legs", "SELECT * FROM quarantine", "FROM main.legs"),
    *(
        "FROM main.records",
        "FROM sqlite_master",
        "FROM pg_class",
        "TABLE quarantine",
        "FROM metadata",
        "FROM call_rows",
    ),
    *("WITH legs AS (SELECT 1) SELECT * FROM main.legs", "FROM duckdb_views", "FROM calls, calls.x"),
    "SELECT * FROM (WITH quarantine AS (SELECT 1 a) SELECT * FROM quarantine) x, quarantine",
    "SELECT * FROM (WITH about AS (SELECT 1 a) SELECT * FROM about) x JOIN about ON true",
    "SELECT (WITH duckdb_views AS (SELECT 1 a) SELECT a FROM duckdb_views), (SELECT max(sql) FROM duckdb_views)",
    "SELECT 1 WHERE EXISTS (WITH legs AS (SELECT 1) FROM legs) AND EXISTS (FROM legs)",
    "WITH quarantine AS (SELECT * FROM quarantine) SELECT * FROM quarantine",
    "WITH a AS (SELECT * FROM legs), legs AS (SELECT 1) SELECT * FROM a",
    "WITH a AS (WITH legs AS (SELECT 1) SELECT * FROM legs) SELECT * FROM legs",
    "WITH RECURSIVE legs AS (SELECT sn FROM legs UNION ALL SELECT sn FROM legs WHERE false) SELECT * FROM legs",
    "WITH RECURSIVE a AS (SELECT 1 x UNION ALL SELECT x FROM pragma_database_list) SELECT * FROM a",
    "(WITH legs AS (SELECT 1) FROM legs) UNION ALL (SELECT count(*) FROM legs)",
    "SELECT * FROM calls ORDER BY (SELECT max(sn) FROM legs)",
    "SELECT * FROM calls LIMIT (SELECT count(*) FROM legs)",
    "SELECT * FROM calls c WHERE EXISTS (SELECT 1 FROM legs WHERE legs.sn = c.sn)",
    "SELECT row_number() OVER (PARTITION BY (SELECT max(sn) FROM legs)) FROM calls",
    "SELECT list_transform([1], lambda x: x + (SELECT count(*) FROM legs)) FROM calls",
    "VALUES ((SELECT count(*) FROM legs))",
)

ATTACKS: Final = (*NO_QUERY, *WRITING, *READING_FILES, *REVEALING_THE_ENGINE, *NAMING_OTHER_TABLES)

TOO_LARGE: Final = (
    "SELECT length(string_agg(repeat('a',1000),'')) FROM range(170000)",
    "SELECT len(list(range)) FROM range(11000000)",
    "SELECT repeat('a', 4000000000)",
    "SELECT list(x) FROM (SELECT repeat('x', 100000) AS x FROM range(100000))",
    "WITH RECURSIVE t(n) AS (SELECT 'a' UNION ALL SELECT n || n FROM t) SELECT max(length(n)) FROM t",
    "SELECT * FROM range(100000) a, range(100000) b ORDER BY a.range * b.range % 7, 1, 2",
)
"""Each needs more memory than a query has."""

TOO_SLOW: Final = (
    "SELECT count(*) FROM range(10000000000) a, range(1000) b WHERE a.range * b.range % 7 = 3",
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT max(n) FROM t",
)

TOO_DEEP: Final = (
    "SELECT " + "(" * 9_000 + "1" + ")" * 9_000,
    "SELECT " + "[" * 5_000 + "]" * 5_000,
    "SELECT " + "NOT " * 4_500 + "true",
    "FROM (" * 2_000 + "SELECT 1" + ")" * 2_000,
    "SELECT " + "+".join("1" * 9_000),
    "SELECT 1 " + "UNION ALL SELECT 1 " * 1_000,
    "SELECT " + "CASE WHEN 1=1 THEN " * 400 + "1" + " END" * 400,
)
"""Nested, or long: answered or refused, never the end of the process."""
