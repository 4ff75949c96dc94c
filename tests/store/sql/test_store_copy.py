"""The copy that queries read: consistent, recent, one at most, and gone when it is not needed."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from onhook.lib.clock import SystemClock
from onhook.lib.errors import Unavailable
from onhook.store.contract import StoreBatch
from onhook.store.duckdb import DuckDbStore, open_store
from onhook.store.sql import store_copy as store_copy_module
from onhook.store.sql.child_processes import ask_process
from onhook.store.sql.copy_process import copy_files, make_copy, prepare_copy
from onhook.store.sql.store_copy import SMALL_BYTES, StoreCopy
from onhook.store.sql.wire import CopyRequest, QueryError
from tests.factories import call
from tests.waiting import wait_until

CALLS_PER_BATCH = 50
COPIES = 10
BATCHES_TO_CHECKPOINT = 25


@pytest.fixture
async def store_copy(store: DuckDbStore, tmp_path: Path) -> AsyncIterator[StoreCopy]:  # noqa: ARG001 - its file
    opened = StoreCopy(tmp_path / "calls.duckdb", tmp_path / "sql", SystemClock())
    yield opened
    await opened.close()


def copied_files(tmp_path: Path) -> list[str]:
    directory = tmp_path / "sql"
    return sorted(path.name for path in directory.iterdir()) if directory.exists() else []


@pytest.mark.slow
async def test_make_copy_of_a_store_under_writes_and_checkpoints_has_whole_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each batch adds as many calls; checkpoints come while a copy is made."""
    monkeypatch.setattr("onhook.store.connections.CHECKPOINT_THRESHOLD", "256KiB")
    monkeypatch.setattr("onhook.store.sql.copy_process._share_blocks", lambda _source, _target: False)
    monkeypatch.setattr("onhook.store.sql.copy_process.CHUNK_BYTES", 32_768)
    source = tmp_path / "calls.duckdb"
    store = await open_store(source)
    positions: list[tuple[int, tuple[int, int]]] = []
    try:
        for number in range(COPIES):
            target = tmp_path / f"copy-{number}.duckdb"
            position_before = await store.position()
            copying = asyncio.create_task(asyncio.to_thread(copy_files, source, target, 0))
            # Every other copy meets checkpoints, and is refused if one ended meanwhile.
            await put_batches(store, BATCHES_TO_CHECKPOINT if number % 2 else 2)
            if await copying:
                positions.append((position_before, await asyncio.to_thread(read_position_and_calls, target)))
    finally:
        await store.close()
    assert len(positions) >= COPIES // 4
    for position_before, (position, calls) in positions:
        assert position >= position_before
        assert calls == position * CALLS_PER_BATCH
    assert positions[-1][1][0] > positions[0][1][0]


async def put_batches(store: DuckDbStore, count: int) -> None:
    for _ in range(count):
        position = await store.position() + 1
        calls = [call() for _ in range(CALLS_PER_BATCH)]
        await store.put(StoreBatch(calls=calls, quarantined=[], reparsed_seqs=[], position=position))


def read_position_and_calls(path: Path) -> tuple[int, int]:
    with duckdb.connect(str(path)) as connection:
        rows = connection.execute(
            "SELECT position, (SELECT count(*) FROM calls), (SELECT count(*) FROM legs) FROM metadata"
        )
        position, calls, legs = rows.fetchall()[0]
    assert calls == legs
    return position, calls


async def test_copy_files_changed_meanwhile_do_not_belong_together(
    store: DuckDbStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint between the log and the file."""
    source, target = tmp_path / "calls.duckdb", tmp_path / "copy.duckdb"
    await store.close()
    check_space = "onhook.store.sql.copy_process._check_space"

    def write_header(*_arguments: object) -> None:
        with source.open("r+b") as file:
            file.seek(8_192)
            file.write(b"another state")

    monkeypatch.setattr("onhook.store.sql.copy_process._share_blocks", lambda _source, _target: False)
    monkeypatch.setattr(check_space, write_header)
    assert not copy_files(source, target, 0)


async def test_prepare_copy_keeps_the_two_views_and_their_tables(store: DuckDbStore, tmp_path: Path) -> None:
    target = tmp_path / "copy.duckdb"
    make_copy(CopyRequest(source=str(tmp_path / "calls.duckdb"), target=str(target), reserve_bytes=0))
    with duckdb.connect(str(target), read_only=True) as connection:
        tables = connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
        views = connection.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()
        assert sorted(tables) == [("call_rows",), ("legs",)]
        assert sorted(views) == [("calls",), ("records",)]
        assert connection.execute("SELECT count(*) FROM records").fetchall() == [(2,)]
    assert not (tmp_path / "copy.duckdb.wal").exists()
    assert target.stat().st_mode & 0o777 == 0o600
    assert (await store.counts())["records"] == 2


@pytest.mark.usefixtures("store")
def test_make_copy_on_a_full_disk_is_refused_with_the_numbers(tmp_path: Path) -> None:
    request = CopyRequest(source=str(tmp_path / "calls.duckdb"), target=str(tmp_path / "c"), reserve_bytes=2**60)
    with pytest.raises(QueryError) as caught:
        make_copy(request)
    assert caught.value.failure.kind == "unavailable"
    assert caught.value.failure.values["needed"] == 2**40
    assert caught.value.failure.hint == "free disk space"


async def test_store_copy_on_a_full_disk_leaves_nothing(
    store_copy: StoreCopy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_copy_module, "RESERVE_BYTES", 2**60)
    with pytest.raises(Unavailable, match=r"the disk has \d+ MiB left"):
        async with store_copy.use():
            pass
    assert copied_files(tmp_path) == []


async def test_store_copy_is_shared_and_removed_after_its_time(
    store_copy: StoreCopy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_copy_module, "AGE_SECONDS_MIN", 0.2)
    monkeypatch.setattr(store_copy_module, "SMALL_AGE_SECONDS_MAX", 0.0)
    assert copied_files(tmp_path) == []
    async with store_copy.use() as first, store_copy.use() as second:
        assert first is second
        await asyncio.sleep(0.4)
        assert len(copied_files(tmp_path)) == 1
    async with asyncio.timeout(20):
        while copied_files(tmp_path):  # noqa: ASYNC110
            await asyncio.sleep(0.02)  # the file system has no event for it


async def test_store_copy_new_one_waits_until_the_old_one_is_not_read(
    store_copy: StoreCopy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_copy_module, "AGE_SECONDS_MIN", 0.05)
    monkeypatch.setattr(store_copy_module, "SMALL_AGE_SECONDS_MAX", 0.0)
    async with store_copy.use() as first:
        await asyncio.sleep(0.1)
        waiting = asyncio.create_task(use_once(store_copy))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        assert copied_files(tmp_path) == [first.path.name]
    assert (await waiting) != first.path
    assert not first.path.exists()


async def test_store_copy_that_is_forgotten_is_read_by_no_later_query_and_removed(
    store_copy: StoreCopy, tmp_path: Path
) -> None:
    async with store_copy.use() as first:
        store_copy.forget()
        assert store_copy.current is None
        assert copied_files(tmp_path) == [first.path.name]
    await wait_until(lambda: copied_files(tmp_path) == [])
    async with store_copy.use() as second:
        assert second.path != first.path


async def test_store_copy_that_is_forgotten_while_it_is_made_is_not_read(
    store_copy: StoreCopy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is copied may be from before."""
    requests: list[CopyRequest] = []

    async def ask_and_forget(module: str, request: CopyRequest, **options: Any) -> Any:
        reply = await ask_process(module, request, **options)
        requests.append(request)
        if len(requests) == 1:
            store_copy.forget()
        return reply

    monkeypatch.setattr("onhook.store.sql.store_copy.ask_process", ask_and_forget)
    async with store_copy.use() as copy:
        assert [request.target for request in requests[1:]] == [str(copy.path)]


@pytest.mark.parametrize(
    ("store_bytes", "age_seconds_max"),
    [(SMALL_BYTES - 1, 60.0), (SMALL_BYTES, 600.0), (40 * SMALL_BYTES, 600.0)],
    ids=["some million records", "more", "many millions"],
)
async def test_store_copy_data_is_recent_however_long_it_took(
    store_copy: StoreCopy, monkeypatch: pytest.MonkeyPatch, store_bytes: int, age_seconds_max: float
) -> None:
    """A query that begins at the last moment reads data of a minute ago at most, in a large store of ten minutes. The
    size of the file, and the clock of the loop, which a slow disk moves, are mocks.
    """
    loop, slow_disk_seconds = asyncio.get_running_loop(), 0.0
    real_time, real_stat = loop.time, Path.stat

    async def ask_slow_process(*arguments: Any, **options: Any) -> Any:
        nonlocal slow_disk_seconds
        reply = await ask_process(*arguments, **options)
        slow_disk_seconds = 50.0
        return reply

    def large_stat(path: Path, **options: Any) -> Any:
        result = real_stat(path, **options)
        return os.stat_result((*result[:6], store_bytes, *result[7:])) if path.suffix == ".duckdb" else result

    monkeypatch.setattr("onhook.store.sql.store_copy.ask_process", ask_slow_process)
    monkeypatch.setattr(Path, "stat", large_stat)
    monkeypatch.setattr(loop, "time", lambda: real_time() + slow_disk_seconds)
    began_at = loop.time()
    async with store_copy.use() as copy:
        assert began_at < copy.expires_at <= began_at + age_seconds_max
        slow_disk_seconds += age_seconds_max
        assert store_copy.current is None


async def use_once(store_copy: StoreCopy) -> Path:
    async with store_copy.use() as copy:
        return copy.path


async def test_store_copy_waiting_readers_share_one_attempt(store_copy: StoreCopy) -> None:
    """The one that asked first may give up."""
    first, second = (asyncio.create_task(use_once(store_copy)) for _ in range(2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).name == "1.duckdb"


async def test_store_copy_of_a_crash_is_removed(store_copy: StoreCopy, tmp_path: Path) -> None:
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "7.duckdb").write_bytes(b"left")
    await store_copy.remove_all()
    assert not (tmp_path / "sql").exists()


async def test_store_copy_close_removes_it(store_copy: StoreCopy, tmp_path: Path) -> None:
    async with store_copy.use():
        assert len(copied_files(tmp_path)) == 1
    await store_copy.close()
    assert not (tmp_path / "sql").exists()


async def test_store_copy_close_ends_an_attempt(store_copy: StoreCopy, tmp_path: Path) -> None:
    task = asyncio.create_task(use_once(store_copy))
    await asyncio.sleep(0.05)
    await store_copy.close()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not (tmp_path / "sql").exists()


def test_prepare_copy_of_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "calls.duckdb").write_bytes(b"x" * 100_000)
    with pytest.raises(duckdb.Error):
        prepare_copy(tmp_path / "calls.duckdb")
    request = CopyRequest(source=str(tmp_path / "calls.duckdb"), target=str(tmp_path / "c"), reserve_bytes=0)
    with pytest.raises(QueryError) as caught:
        make_copy(request)
    assert caught.value.failure.kind == "unavailable"
