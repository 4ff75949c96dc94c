"""The store file: opened by one process, consistent after a kill, and rejected with a clear error when
it is invalid.
"""

import asyncio
import random
import resource
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import duckdb
import pytest

from onhook.cdr.record import Call
from onhook.cdr.record_filter import RecordFilter
from onhook.lib.errors import OnhookError, Unavailable
from onhook.store import connections
from onhook.store.connections import READERS_MAX
from onhook.store.contract import StoreBatch, StoreUnusable
from onhook.store.duckdb import DuckDbStore, open_store
from tests.factories import call
from tests.store.damage import damage_calls

CALLS_PER_BATCH = 20

WRITER = f"""
import asyncio, sys
from pathlib import Path
from onhook.store.duckdb import open_store
from onhook.store.contract import StoreBatch
from tests.factories import call

async def write(path):
    store = await open_store(path)
    position = await store.position()
    while True:
        position += 1
        calls = [call() for _ in range({CALLS_PER_BATCH})]
        await store.put(StoreBatch(calls=calls, quarantined=[], reparsed_seqs=[], position=position))
        print(position, flush=True)

asyncio.run(write(Path(sys.argv[1])))
"""


@asynccontextmanager
async def open_and_close(path: Path) -> AsyncIterator[DuckDbStore]:
    store = await open_store(path)
    try:
        yield store
    finally:
        await store.close()


def start_writer(path: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True)


def last_line_after(process: "subprocess.Popen[str]", lines: int) -> int:
    """Kill the process after this many lines; return the last line that it wrote, read or not."""
    assert process.stdout
    positions = [process.stdout.readline() for _ in range(lines)]
    process.kill()
    positions += process.stdout.read().splitlines(keepends=True)
    process.wait()
    process.stdout.close()
    return int([line for line in positions if line.endswith("\n")][-1])


async def kill_at_random(path: Path, kills: int) -> None:
    rng = random.Random(30012)
    for _ in range(kills):
        acknowledged = last_line_after(start_writer(path), rng.randint(1, 12))
        async with open_and_close(path) as store:
            counts = await store.counts()
        assert counts["position"] >= acknowledged
        # Ids restart with each process: a later process replaces calls of an earlier one.
        assert counts["records"] == counts["calls"] <= counts["position"] * CALLS_PER_BATCH
        assert counts["calls"] % CALLS_PER_BATCH == 0


@pytest.mark.slow
async def test_put_killed_process_keeps_whole_batches(tmp_path: Path) -> None:
    await kill_at_random(tmp_path / "calls.duckdb", kills=3)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_put_killed_process_keeps_whole_batches_fifty_times(tmp_path: Path) -> None:
    await kill_at_random(tmp_path / "calls.duckdb", kills=50)


async def test_open_store_of_other_process_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "calls.duckdb"
    process = start_writer(path)
    assert process.stdout
    process.stdout.readline()
    with pytest.raises(Unavailable, match="another process has the store open"):
        await open_store(path)
    last_line_after(process, 1)
    async with open_and_close(path) as store:
        assert await store.position() > 0


async def test_open_store_again_returns_stored_calls(tmp_path: Path) -> None:
    path, stored_call = tmp_path / "calls.duckdb", call()
    async with open_and_close(path) as store:
        await store.put(StoreBatch(calls=[stored_call], quarantined=[], reparsed_seqs=[], position=3))
    async with open_and_close(path) as store:
        assert (await store.calls(RecordFilter(), 5)).data == [stored_call]
        assert await store.position() == 3


@pytest.mark.parametrize("content", [b"invalid", b"x" * 100_000, b"SQLite format 3\x00" + bytes(5_000)])
async def test_open_invalid_file_suggests_rebuild(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "calls.duckdb"
    path.write_bytes(content)
    with pytest.raises(OnhookError, match="onhook rebuild"):
        await open_store(path)


@pytest.mark.parametrize("length", [0, 8, 4_096, 8_192])
async def test_open_incomplete_file_is_created_again(tmp_path: Path, length: int) -> None:
    """As after a full disk: the file had no content yet."""
    path = tmp_path / "calls.duckdb"
    async with open_and_close(path):
        pass
    path.write_bytes(path.read_bytes()[:length] if length > 8 else bytes(length))
    async with open_and_close(path) as store:
        assert await store.position() == 0


async def test_open_damaged_store_suggests_rebuild(tmp_path: Path) -> None:
    path = tmp_path / "calls.duckdb"
    async with open_and_close(path) as store:
        await store.put(StoreBatch(calls=[call() for _ in range(500)], quarantined=[], reparsed_seqs=[], position=3))
    whole = path.read_bytes()
    # Cut off; without its first header; with blocks whose checksum is wrong.
    for damaged in (
        whole[:20_000],
        bytes(8_192) + whole[8_192:],
        whole[:8_192] + bytes(len(whole) - 8_192),
    ):
        path.write_bytes(damaged)
        with pytest.raises(OnhookError, match="onhook rebuild"):
            await open_store(path)


@pytest.mark.parametrize("change", ["UPDATE metadata SET version = 99", "DROP TABLE metadata", "DELETE FROM metadata"])
async def test_open_store_of_other_version_suggests_rebuild(tmp_path: Path, change: str) -> None:
    path = tmp_path / "calls.duckdb"
    async with open_and_close(path):
        pass
    with duckdb.connect(str(path)) as connection:
        connection.execute(change)
    with pytest.raises(OnhookError, match="onhook rebuild"):
        await open_store(path)


async def test_open_missing_directory_is_unavailable(tmp_path: Path) -> None:
    """The directory is not created: a misspelt path must not become a second store."""
    with pytest.raises(Unavailable, match="cannot open the store"):
        await open_store(tmp_path / "nowhere" / "calls.duckdb")


async def put_until_refused(store: DuckDbStore, calls: list[Call]) -> int:
    for position in range(1_000):
        try:
            await store.put(StoreBatch(calls=calls, quarantined=[], reparsed_seqs=[], position=position + 1))
        except Unavailable:
            return position
    pytest.fail("the disk never became full")


async def test_put_on_full_disk_is_rejected_until_space_is_free(tmp_path: Path) -> None:
    path = tmp_path / "calls.duckdb"
    calls = [call() for _ in range(500)]
    async with open_and_close(path) as store:
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
        try:
            position = await put_until_refused(store, calls)
            assert await store.position() == position > 0
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        await store.put(StoreBatch(calls=calls, quarantined=[], reparsed_seqs=[], position=position + 1))
        assert (await store.counts())["calls"] == len(calls)
    async with open_and_close(path) as store:
        assert await store.position() == position + 1


ENDLESS = "SELECT count(*) FROM range(10000000000) a, range(1000) b WHERE a.range * b.range % 7 = 3"


def run_endless(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(ENDLESS).fetchall()


async def test_read_without_memory_is_unavailable_for_now(tmp_path: Path) -> None:
    """All readers share the memory, so that another attempt may have it; the projector writes on."""
    async with open_and_close(tmp_path / "calls.duckdb") as store:
        with pytest.raises(Unavailable, match="no memory left"):
            await store._database.read(
                lambda connection: connection.execute("SELECT len(list(range)) FROM range(30000000)").fetchall()
            )
        await store.put(StoreBatch(calls=[call()], quarantined=[], reparsed_seqs=[], position=3))
        assert (await store.counts())["calls"] == 1


async def test_read_of_cancelled_callers_leaves_no_reader_busy(tmp_path: Path) -> None:
    """Also of those that wait for a thread."""
    async with open_and_close(tmp_path / "calls.duckdb") as store:
        readers = [asyncio.create_task(store._database.read(run_endless)) for _ in range(READERS_MAX * 2)]
        await asyncio.sleep(0.2)
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
        assert not store._database._running
        assert await store.position() == 0


async def test_close_interrupts_readers(tmp_path: Path) -> None:
    store = await open_store(tmp_path / "calls.duckdb")
    reader = asyncio.create_task(store._database.read(run_endless))
    await asyncio.sleep(0.2)
    await store.close()
    with pytest.raises(Unavailable, match="cancelled"):
        await reader
    with pytest.raises(Unavailable, match="is being closed"):
        await store.position()


async def test_close_with_a_reader_that_does_not_heed_interrupts_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connections, "CLOSE_SECONDS_MAX", 0.2)
    store = await open_store(tmp_path / "calls.duckdb")
    is_done = threading.Event()
    reader = asyncio.create_task(store._database.read(lambda _connection: is_done.wait(60)))
    await asyncio.sleep(0.1)
    await store.close()
    assert "queries did not end in time" in caplog.text
    is_done.set()
    await reader


async def test_close_waits_for_a_running_write(tmp_path: Path) -> None:
    path = tmp_path / "calls.duckdb"
    store = await open_store(path)
    batch = StoreBatch(calls=[call() for _ in range(500)], quarantined=[], reparsed_seqs=[], position=3)
    writing = asyncio.create_task(store.put(batch))
    await asyncio.sleep(0)
    await store.close()
    await writing
    async with open_and_close(path) as reopened:
        assert await reopened.position() == 3


async def fill(path: Path) -> list[Call]:
    """Make a closed store with some thousand calls; return them."""
    calls = [call() for _ in range(3_000)]
    async with open_and_close(path) as store:
        await store.put(StoreBatch(calls=calls, quarantined=[], reparsed_seqs=[], position=1))
    return calls


@pytest.mark.slow
async def test_read_of_a_damaged_page_marks_the_store(tmp_path: Path) -> None:
    """It cannot be opened again, also by another process; a new file in its place can."""
    path = tmp_path / "calls.duckdb"
    await fill(path)
    damage_calls(path)
    async with open_and_close(path) as store:
        damage = asyncio.create_task(store.wait_for_damage())
        with pytest.raises(StoreUnusable, match=r"the store is damaged: .*Corrupt database file"):
            await store.records(RecordFilter(), 1_000)
        await asyncio.wait_for(damage, 20)
        await asyncio.wait_for(store.wait_for_damage(), 20)
    with pytest.raises(StoreUnusable, match="onhook rebuild"):
        await open_store(path)
    path.unlink()
    async with open_and_close(path) as store:
        assert await store.position() == 0


async def test_put_into_a_damaged_store_marks_it(tmp_path: Path) -> None:
    path = tmp_path / "calls.duckdb"
    calls = await fill(path)
    damage_calls(path)
    async with open_and_close(path) as store:
        with pytest.raises(StoreUnusable):
            await store.put(StoreBatch(calls=calls, quarantined=[], reparsed_seqs=[], position=2))
        await asyncio.wait_for(store.wait_for_damage(), 20)


async def test_put_that_reopens_a_damaged_store_marks_it(tmp_path: Path) -> None:
    """After an error that DuckDB gave up at, such as that of a full disk; then reads are unavailable."""
    path = tmp_path / "calls.duckdb"
    await fill(path)
    store = await open_store(path)
    damage = asyncio.create_task(store.wait_for_damage())
    store._database._is_broken = True
    store._database._connection.close()
    path.with_name("calls.duckdb.wal").unlink(missing_ok=True)
    path.write_bytes(path.read_bytes()[:9_000] + b"\xff" * 4_000 + path.read_bytes()[13_000:])
    for _ in range(2):
        with pytest.raises(StoreUnusable):
            await store.put(StoreBatch(calls=[], quarantined=[], reparsed_seqs=[], position=2))
    await asyncio.wait_for(damage, 10)
    assert connections.damage_mark(path).exists()
    with pytest.raises(Unavailable):
        await store.position()
    await store.close()


async def test_read_while_the_store_is_reopened_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read that runs, and one that begins."""
    async with open_and_close(tmp_path / "calls.duckdb") as store:
        begun, reopening, continued = threading.Event(), threading.Event(), threading.Event()
        open_connection = connections._open_connection

        def wait_and_open(path: Path) -> duckdb.DuckDBPyConnection:
            reopening.set()
            assert continued.wait(10)
            return open_connection(path)

        def read_slowly(connection: duckdb.DuckDBPyConnection) -> object:
            begun.set()
            assert reopening.wait(10)
            return connection.execute("SELECT position FROM metadata").fetchall()

        monkeypatch.setattr(connections, "_open_connection", wait_and_open)
        running_read = asyncio.create_task(store._database.read(read_slowly))
        await asyncio.to_thread(begun.wait, 10)
        store._database._is_broken = True
        write = asyncio.create_task(store.put(StoreBatch(calls=[], quarantined=[], reparsed_seqs=[], position=2)))
        await asyncio.to_thread(reopening.wait, 10)
        results = await asyncio.gather(running_read, store.position(), return_exceptions=True)
        continued.set()
        await write
        assert all(isinstance(result, Unavailable) or result == [(0,)] for result in results), results
        assert await store.position() == 2
