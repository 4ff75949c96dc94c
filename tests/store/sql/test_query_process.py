"""The process of a query: what it cannot do, whatever the engine is made to do."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import msgspec
import pytest

from onhook.store.duckdb import DuckDbStore
from onhook.store.sql.contract import SQL_ROWS_MAX, SqlCell
from onhook.store.sql.copy_process import make_copy
from onhook.store.sql.query_process import MEMORY_BYTES_MAX, RESULT_BYTES_MAX, run_query
from onhook.store.sql.wire import CopyRequest, QueryError, SqlReply
from tests.store.sql.attacks import READING_FILES, REVEALING_THE_ENGINE, SECRET, WRITING

UNVALIDATED = """
import json, os, sys
from onhook.store.sql import query_process
from onhook.store.sql.confinement import ProcessLimits, confine_process

path, queries = json.loads(sys.stdin.read())
limits = {"cpu_seconds": 60, "wall_seconds": 60, "file_bytes": 0}
confine_process(ProcessLimits(memory_bytes=query_process.MEMORY_BYTES_MAX, **limits), os.getppid())
results = []
with query_process.open_copy(path) as connection:
    for query in queries:
        try:
            results.append([query, str(connection.execute(query).fetchall())])
        except Exception as error:
            results.append([query, None])
print()
print(json.dumps(results))
"""

CONFINED = """
import os, socket, subprocess, sys, tempfile
from onhook.store.sql import query_process
from onhook.store.sql.confinement import ProcessLimits, confine_process

limits = {"cpu_seconds": 60, "wall_seconds": 60, "file_bytes": 0}
confine_process(ProcessLimits(memory_bytes=query_process.MEMORY_BYTES_MAX, **limits), os.getppid())
connection = query_process.open_copy(sys.argv[1])
for name, action in {
    "open": lambda: open("/etc/passwd"),
    "socket": lambda: socket.socket(),
    "pipe": lambda: os.pipe(),
    "memory": lambda: bytearray(query_process.MEMORY_BYTES_MAX),
}.items():
    try:
        action()
        print(name)
    except (OSError, MemoryError):
        pass
"""


OUT_OF_MEMORY = """
import sys
import duckdb
from onhook.store.sql import {module} as process

def run(_request):
    raise duckdb.OutOfMemoryException("Out of Memory Error: failed to allocate")

process.run_request = process.make_copy = run
process.msgspec.json.decode = lambda *_arguments, **_options: None
process.main()
"""


@pytest.fixture
def copy(store: DuckDbStore, tmp_path: Path) -> Path:  # noqa: ARG001 - its file
    """Return a copy of the open store."""
    path = tmp_path / "copy" / "1.duckdb"
    path.parent.mkdir()
    make_copy(CopyRequest(source=str(tmp_path / "calls.duckdb"), target=str(path), reserve_bytes=0))
    return path


def run_script(script: str, *arguments: str, content: str = "") -> str:
    completed = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        input=content,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert completed.returncode == 0, completed.stderr[-500:]
    return completed.stdout


def test_query_process_engine_gives_nothing_to_queries_that_are_not_validated(copy: Path, tmp_path: Path) -> None:
    """The content of a file, other tables, and changes are out of reach without the validation too."""
    before = sorted(path.name for path in tmp_path.rglob("*"))
    queries = [
        attack.replace("{directory}", str(tmp_path)).replace("{descriptor}", "3")
        for attack in (*WRITING, *READING_FILES, *REVEALING_THE_ENGINE, "FROM quarantine", "FROM metadata")
        if "pg_sleep" not in attack
    ]
    # DuckDB shows the progress of what takes two seconds to a process whose program is no file.
    *_progress, output = run_script(UNVALIDATED, content=json.dumps([str(copy), queries])).splitlines()
    results: list[tuple[str, str | None]] = json.loads(output)
    assert len(results) == len(queries)
    answered = {query for query, answer in results if answer is not None}
    assert not any(SECRET in answer for _query, answer in results if answer is not None)
    touching = {query for query in queries if str(tmp_path) in query or "/" in query or "httpfs" in query}
    touching |= {*WRITING, "FROM quarantine", "FROM metadata"} - {"BEGIN", "COMMIT", "CHECKPOINT", "VACUUM"}
    assert answered & touching == set()
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_query_process_can_open_nothing_after_its_copy(copy: Path) -> None:
    assert run_script(CONFINED, str(copy)).split() == []


def test_query_process_without_its_parent_ends(copy: Path) -> None:
    """The parent is killed, and has no time to end anything."""
    request = json.dumps({"path": str(copy), "sql": "SELECT count(*) FROM range(10000000000) a, range(1000) b"})
    parent_script = """
import os, subprocess, sys
command = [sys.executable, "-m", "onhook.store.sql.query_process", str(os.getpid())]
child = subprocess.Popen(command, stdin=subprocess.PIPE)
child.stdin.write(sys.argv[1].encode()); child.stdin.close()
print(child.pid, flush=True)
child.wait()
"""
    with subprocess.Popen([sys.executable, "-c", parent_script, request], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        status = Path(f"/proc/{int(parent.stdout.readline())}/status")
        wait_for(lambda: "\tR" in read(status) and int(memory_kib(status)) > 40_000)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    wait_for(lambda: not read(status) or "State:\tZ" in read(status))


def test_query_process_whose_parent_has_died_before_it_began_ends(copy: Path) -> None:
    request = json.dumps({"path": str(copy), "sql": "SELECT 1"})
    command = [sys.executable, "-m", "onhook.store.sql.query_process"]
    for parent_pid, exit_code in ((os.getpid(), 0), (os.getppid(), -signal.SIGKILL)):
        completed = subprocess.run(
            [*command, str(parent_pid)], input=request, capture_output=True, text=True, check=False, timeout=120
        )
        assert completed.returncode == exit_code


@pytest.mark.parametrize(
    ("sql", "cells"),
    [
        ("SELECT 1.5, true, NULL", [1.5, True, None]),
        ("SELECT 'nan'::DOUBLE, '-inf'::DOUBLE", ["nan", "-inf"]),
        ("SELECT 12345678901234567890123", ["12345678901234567890123"]),
        ("SELECT TIMESTAMP '2026-04-27 11:04:36', DATE '2026-04-27'", ["2026-04-27 11:04:36", "2026-04-27"]),
        ("SELECT TIME '01:02:03', INTERVAL 90 MINUTE", ["01:02:03", "1:30:00"]),
        ("SELECT TIMESTAMPTZ '2026-04-27 11:04:36+02', 1", ["2026-04-27 09:04:36+00", 1]),
        ("SELECT [1, 2], {'a': 1}, MAP {'a': 1}", ["[1, 2]", "{'a': 1}", "{'a': 1}"]),
        ("SELECT 2.25::DECIMAL(4, 2)", [2.25]),
    ],
)
def test_run_query_value_is_one_that_json_has(sql: str, cells: list[SqlCell]) -> None:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        assert decode_rows(run_query(connection, sql)) == [cells]


def test_run_query_result_is_limited() -> None:
    with duckdb.connect() as connection:
        long = run_query(connection, "SELECT range FROM range(20000)")
        large = run_query(connection, "SELECT repeat('x', 9000) FROM range(2000)")
        assert (len(long.rows), long.is_truncated) == (SQL_ROWS_MAX, True)
        assert large.is_truncated
        assert sum(len(str(row[0])) for row in decode_rows(large)) <= RESULT_BYTES_MAX
        with pytest.raises(QueryError) as caught:
            run_query(connection, "SELECT " + ", ".join("1" for _ in range(501)))
    assert caught.value.failure.values == {"count": 501, "limit": 500}


@pytest.mark.parametrize(
    "sql",
    ["SELECT INTERVAL 1000000000 DAYS", "SELECT [INTERVAL 1000000000 DAYS]", "SELECT {'a': INTERVAL '99999999 years'}"],
)
def test_run_query_value_that_python_lacks_is_an_error_of_the_query(sql: str) -> None:
    """It is named, and what to do."""
    with duckdb.connect() as connection, pytest.raises(QueryError) as caught:
        run_query(connection, sql)
    assert caught.value.failure.kind == "usage"
    assert "VARCHAR" in caught.value.failure.hint


@pytest.mark.parametrize(("module", "kind"), [("query_process", "usage"), ("copy_process", "unavailable")])
def test_process_out_of_memory_blames_the_query_for_its_own_only(module: str, kind: str) -> None:
    """The copy is Onhook's own work: another attempt may succeed."""
    script = OUT_OF_MEMORY.replace("{module}", module)
    failure = msgspec.json.decode(run_script(script, str(os.getpid())), type=SqlReply).failure
    assert failure is not None
    assert failure.kind == kind


def test_run_query_error_of_the_engine_is_one_line() -> None:
    with duckdb.connect() as connection, pytest.raises(QueryError) as caught:
        run_query(connection, "SELECT nothing")
    assert str(caught.value.failure.values["error"]).startswith("Binder Error")
    assert "\n" not in str(caught.value.failure.values["error"])


def decode_rows(reply: SqlReply) -> list[list[SqlCell]]:
    rows: list[list[SqlCell]] = [msgspec.json.decode(msgspec.json.encode(row)) for row in reply.rows]
    return rows


def read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def memory_kib(status: Path) -> str:
    return next((line.split()[1] for line in read(status).splitlines() if line.startswith("VmRSS")), "0")


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_query_process_memory_of_two_is_below_one_gigabyte() -> None:
    assert 2 * MEMORY_BYTES_MAX < 10**9
