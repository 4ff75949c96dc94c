"""SQL of users in processes of their own: right answers, clear errors, and nothing left behind."""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from onhook.lib.clock import SystemClock
from onhook.lib.errors import OnhookError, Unavailable, UsageError
from onhook.store.duckdb import DuckDbStore
from onhook.store.sql import runner as runner_module
from onhook.store.sql.child_processes import ProcessEnded
from onhook.store.sql.contract import SQL_ROWS_MAX
from onhook.store.sql.failures import ended_error
from onhook.store.sql.runner import QUERIES_MAX, QUERY_MODULE, WAITING_MAX, SqlProcessRunner
from tests.factories import call, record
from tests.store.contract import batch
from tests.store.sql.attacks import SECRET, TOO_DEEP, TOO_LARGE, TOO_SLOW
from tests.waiting import wait_until

ENDLESS = TOO_SLOW[0]

ANSWERS = (
    ("SELECT count(*) FROM calls", [[2]]),
    ("select call_from, talk_duration from records where status = 'ANSWERED' -- comment", [["Alice<1001>", 14]]),
    ("SELECT call_from, call_to FROM calls WHERE status = 'BUSY'", [["1001", "1002"]]),
    ("SELECT started_at FROM calls LIMIT 1;", [["2026-04-27 11:04:36"]]),
    ("SELECT 1.5, true, NULL, 'nan'::DOUBLE, 2::HUGEINT ** 70, [1, 2]", [[1.5, True, None, "nan", 2.0**70, "[1, 2]"]]),
    ("SELECT 12345678901234567890123, DATE '2026-04-27', INTERVAL 90 MINUTE, '1'::BLOB",
     [["12345678901234567890123", "2026-04-27", "1:30:00", "b'1'"]]),
    ("SELECT TIMESTAMPTZ '2026-04-27 11:04:36+02', [TIMESTAMPTZ '2026-04-27 11:04:36+02']",
     [["2026-04-27 09:04:36+00", "['2026-04-27 09:04:36+00']"]]),
)  # fmt: skip


def query_pids() -> list[int]:
    """Return the processes that answer queries now."""
    pids = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (
                    QUERY_MODULE in (entry / "cmdline").read_text()
                    and f"PPid:\t{os.getpid()}" in (entry / "status").read_text()
                ):
                    pids.append(int(entry.name))
            except OSError:
                continue
    return pids


async def wait_for_query_process() -> None:
    async with asyncio.timeout(60):
        while not query_pids():  # noqa: ASYNC110
            await asyncio.sleep(0.02)  # the system has no event for it


async def test_run_sql_allowed_query_returns_rows(runner: SqlProcessRunner) -> None:
    for sql, rows in ANSWERS:
        assert list((await runner.run(sql)).rows) == rows, sql


@pytest.mark.slow
async def test_run_sql_result_is_limited_in_rows_text_and_bytes(runner: SqlProcessRunner) -> None:
    result = await runner.run("SELECT range FROM range(1000000)")
    assert (len(result.rows), result.is_truncated) == (SQL_ROWS_MAX, True)
    (cell,) = (await runner.run("SELECT repeat('x', 1000000)")).rows[0]
    assert len(str(cell)) == 10_000
    result = await runner.run("SELECT repeat('x', 9000) FROM range(2000)")
    assert 800 < len(result.rows) < 1_000
    assert result.is_truncated


async def test_run_sql_many_columns_are_refused(runner: SqlProcessRunner) -> None:
    with pytest.raises(UsageError, match="501 columns, 500 is the limit"):
        await runner.run("SELECT " + ", ".join("1" for _ in range(501)))


async def test_run_sql_attack_is_refused_without_effect(
    runner: SqlProcessRunner, store: DuckDbStore, tmp_path: Path
) -> None:
    """The validation's own tests have many more."""
    for attack in (
        f"SELECT * FROM read_text('{tmp_path}/secret.csv')",  # noqa: S608 - the attack itself
        "WITH a AS (DELETE FROM legs RETURNING *) SELECT * FROM a",
        "SELECT * FROM (WITH quarantine AS (SELECT 1 a) SELECT * FROM quarantine) x, quarantine",
        "ATTACH 'other.db'",
        "",
        "x" * 20_001,
    ):
        with pytest.raises(UsageError) as caught:
            await runner.run(attack)
        assert SECRET not in str(caught.value)
    assert await store.counts() == {"records": 2, "calls": 2, "quarantined": 0, "position": 1}


@pytest.mark.parametrize("sql", [TOO_LARGE[0], *(pytest.param(sql, marks=pytest.mark.slow) for sql in TOO_LARGE[1:])])
async def test_run_sql_too_large_query_is_a_clear_error(runner: SqlProcessRunner, sql: str) -> None:
    with pytest.raises(UsageError, match=r"memory .*ended|memory or is nested|took longer"):
        await runner.run(sql)
    assert (await runner.run("SELECT 1")).rows == [[1]]


@pytest.mark.slow
async def test_run_sql_nested_query_is_answered_or_refused(runner: SqlProcessRunner) -> None:
    for sql in TOO_DEEP:
        with suppress(UsageError):
            await runner.run(sql)


async def test_run_sql_query_of_a_busy_machine_is_ended(
    runner: SqlProcessRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "WALL_SECONDS_MAX", 0.5)
    monkeypatch.setattr(runner_module, "START_SECONDS_MAX", 0.5)
    with pytest.raises(Unavailable, match="did not end within 60 seconds: this machine is busy"):
        await runner.run(ENDLESS)
    assert query_pids() == []


@pytest.mark.slow
async def test_run_sql_too_slow_query_is_ended_by_the_kernel(runner: SqlProcessRunner) -> None:
    """By a signal that the process set for itself."""
    for sql in TOO_SLOW:
        with pytest.raises(UsageError, match="took longer than 10 seconds and was ended"):
            await runner.run(sql)


def test_run_sql_error_of_a_process_says_which_time_was_over() -> None:
    """The kernel ends a process by one signal after its processor time, by another after its time."""
    assert "took longer than 10 seconds and was ended" in str(ended_error(ProcessEnded(-signal.SIGXCPU, "")))
    busy = ended_error(ProcessEnded(-signal.SIGALRM, ""))
    assert isinstance(busy, Unavailable)
    assert "did not end within 60 seconds: this machine is busy" in str(busy)


async def test_run_sql_query_has_the_lowest_priority_and_none_when_cancelled(runner: SqlProcessRunner) -> None:
    task = asyncio.create_task(runner.run(ENDLESS))
    await wait_for_query_process()
    # Its start has a higher one.
    await wait_until(lambda: [os.getpriority(os.PRIO_PROCESS, pid) for pid in query_pids()] == [19])
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert query_pids() == []


async def test_run_sql_close_ends_queries_and_removes_the_copy(
    store: DuckDbStore, runner: SqlProcessRunner, tmp_path: Path
) -> None:
    task = asyncio.create_task(runner.run(ENDLESS))
    await wait_for_query_process()
    await runner.close()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(Unavailable, match="the server is stopping"):
        await runner.run("SELECT 1")
    assert query_pids() == []
    assert not (tmp_path / "sql").exists()
    assert (await store.counts())["calls"] == 2


@pytest.mark.slow
async def test_run_sql_beyond_the_waiting_queries_is_refused(runner: SqlProcessRunner) -> None:
    await runner.run("SELECT 1")
    tasks = [asyncio.create_task(runner.run(ENDLESS)) for _ in range(QUERIES_MAX + WAITING_MAX)]
    await wait_for_query_process()
    with pytest.raises(Unavailable, match="2 queries are running and 8 are waiting"):
        await runner.run("SELECT 1")
    assert len(query_pids()) <= QUERIES_MAX
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (await runner.run("SELECT 1")).rows == [[1]]


async def test_run_sql_waiting_query_is_refused_after_a_while(
    runner: SqlProcessRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "WAIT_SECONDS_MAX", 0.05)
    tasks = [asyncio.create_task(runner.run(ENDLESS)) for _ in range(QUERIES_MAX)]
    await wait_for_query_process()
    with pytest.raises(Unavailable, match="try again in a moment"):
        await runner.run("SELECT 1")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_run_sql_killed_process_is_an_error_and_the_next_query_runs(runner: SqlProcessRunner) -> None:
    """As by the kernel, when the machine runs out of memory."""
    task = asyncio.create_task(runner.run(ENDLESS))
    await wait_for_query_process()
    for pid in query_pids():
        os.kill(pid, 9)
    with pytest.raises(UsageError, match="too much memory"):
        await task
    assert (await runner.run("SELECT 1")).rows == [[1]]


async def test_run_sql_sees_what_was_stored_before_its_copy(runner: SqlProcessRunner, store: DuckDbStore) -> None:
    before = await runner.run("SELECT count(*) FROM calls")
    await store.put(batch(call(record(call_id="1777287999.9"))))
    shared = await runner.run("SELECT count(*) FROM calls")
    assert (shared.rows, shared.data_at) == (before.rows, before.data_at)
    runner._copy._copy = None
    after = await runner.run("SELECT count(*) FROM calls")
    assert after.rows == [[3]]
    assert after.data_at > before.data_at


async def test_run_sql_without_store_is_unavailable(tmp_path: Path) -> None:
    runner = SqlProcessRunner(tmp_path / "none.duckdb", tmp_path / "sql", SystemClock())
    try:
        with pytest.raises(Unavailable, match="cannot be copied"):
            await runner.run("SELECT 1")
    finally:
        await runner.close()


async def test_run_sql_process_that_cannot_start_is_unavailable(
    runner: SqlProcessRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    await runner.run("SELECT 1")
    monkeypatch.setattr("sys.executable", "/nonexistent/python")
    with pytest.raises(OnhookError, match="no query process can be started") as caught:
        await runner.run("SELECT 1")
    assert not caught.value.permanent
