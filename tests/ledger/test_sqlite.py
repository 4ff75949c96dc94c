"""The ledger in SQLite: files, other processes, full disks, killed processes."""

import asyncio
import errno
import os
import random
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from onhook.ledger import sqlite, sqlite_schema
from onhook.ledger.contract import CounterKey, RawEvent, RewrittenContent
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.errors import OnhookError, Unavailable, UsageError
from tests import counts
from tests.ledger.entries import NOW, SN, entries, entry

PAGE_BYTES = 4096


async def test_ledger_file_is_readable_by_owner_only(tmp_path: Path) -> None:
    """The file and SQLite's files beside it have mode 0600, even if the file existed with more permissions."""
    path = tmp_path / "ledger.db"
    path.touch(mode=0o644)
    ledger = SqliteLedger(path)
    await ledger.append([entry(1)])
    assert _modes(tmp_path) == {"ledger.db": 0o600, "ledger.db-wal": 0o600, "ledger.db-shm": 0o600}
    await ledger.close()


def test_open_that_fails_at_a_later_connection_closes_the_earlier_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[sqlite3.Connection] = []

    def connect(path: Path, use: sqlite_schema.ConnectionUse) -> sqlite3.Connection:
        if use == "checkpoint":
            raise Unavailable("too many open files")
        opened.append(sqlite_schema.connect(path, use))
        return opened[-1]

    monkeypatch.setattr(sqlite, "connect", connect)
    with pytest.raises(Unavailable):
        SqliteLedger(tmp_path / "ledger.db")
    assert len(opened) == 3
    for connection in opened:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")


@pytest.mark.parametrize("remaining_share", [0, 0.5])
@pytest.mark.parametrize("event_count", [1, 100])
async def test_append_to_file_that_was_cut_off_is_unavailable_for_ever(
    tmp_path: Path, remaining_share: float, event_count: int
) -> None:
    """Also after a checkpoint, of this process or of another one, which would lengthen the file again."""
    path = tmp_path / "ledger.db"
    ledger, other_ledger = SqliteLedger(path), SqliteLedger(path)
    await ledger.append(entries(1, event_count))
    await other_ledger.append([entry(event_count + 1)])
    await asyncio.sleep(3 * sqlite.CHECKPOINT_SECONDS)
    for each_ledger in (ledger, other_ledger):
        await each_ledger.append([entry(event_count + 2 + (each_ledger is ledger))])
    size = path.stat().st_size
    os.truncate(path, int(size * remaining_share) // PAGE_BYTES * PAGE_BYTES)
    await asyncio.sleep(3 * sqlite.CHECKPOINT_SECONDS)
    assert path.stat().st_size < size
    for each_ledger in (ledger, other_ledger):
        with pytest.raises(Unavailable, match="cut off"):
            await each_ledger.append([entry(event_count + 10)])
    os.truncate(path, size)
    for each_ledger in (ledger, other_ledger):
        with pytest.raises(Unavailable, match="cut off"):
            await each_ledger.append([entry(event_count + 10)])
        await each_ledger.close()


async def test_append_first_to_file_that_was_cut_off_is_unavailable(tmp_path: Path) -> None:
    """Its size is known since it was opened."""
    path = tmp_path / "ledger.db"
    ledger = SqliteLedger(path)
    await ledger.append(entries(1, 99))
    await ledger.close()
    ledger = SqliteLedger(path)
    os.truncate(path, path.stat().st_size // 2 // PAGE_BYTES * PAGE_BYTES)
    with pytest.raises(OnhookError):
        await ledger.append([entry(100)])
    await ledger.close()


async def test_ledger_reopened_keeps_events_numbers_and_counters(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = SqliteLedger(path)
    (first,) = await ledger.append([entry(1)])
    await ledger.add_counts({CounterKey("stored", SN, ""): 1}, NOW)
    await ledger.close()
    ledger = SqliteLedger(path)
    (second,) = await ledger.append([entry(2)])
    assert second.seq > first.seq
    assert len(await ledger.read(0, 10)) == 2
    assert len(await ledger.counters()) == 1
    await ledger.close()


@pytest.mark.parametrize("name", ["ledger.db", "ledger.db-wal"])
async def test_append_to_removed_file_is_unavailable(tmp_path: Path, name: str) -> None:
    """Writes to a file without a name are lost, so they must never be acknowledged."""
    ledger = SqliteLedger(tmp_path / "ledger.db")
    await ledger.append([entry(1)])
    (tmp_path / name).rename(tmp_path / "away")
    for n in (2, 3):
        with pytest.raises(Unavailable, match="was removed"):
            await ledger.append([entry(n)])
    (tmp_path / name).touch()
    with pytest.raises(Unavailable, match="removed or replaced"):
        await ledger.append([entry(4)])
    (tmp_path / "away").replace(tmp_path / name)
    assert (await ledger.append([entry(5)]))[0].seq > 1
    await ledger.close()


def test_connect_appending_connection_is_durable(tmp_path: Path) -> None:
    """Connections that append are in WAL mode and wait for the disk: FULL is 2."""
    path = tmp_path / "ledger.db"
    sqlite_schema.prepare_file(path)
    uses: tuple[sqlite_schema.ConnectionUse, ...] = ("try_append", "append")
    for use in uses:
        connection = sqlite_schema.connect(path, use)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        connection.close()


def test_prepare_file_incomplete_file_is_completed(tmp_path: Path) -> None:
    """A power failure may leave an empty file, or one without tables."""
    empty, bare = tmp_path / "empty.db", tmp_path / "bare.db"
    empty.touch()
    connection = sqlite3.connect(bare)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    for path in (empty, bare):
        sqlite_schema.prepare_file(path)
        sqlite_schema.prepare_file(path)


def test_open_file_that_is_no_ledger_is_rejected_unchanged(tmp_path: Path) -> None:
    other, text, newer = tmp_path / "other.db", tmp_path / "text.db", tmp_path / "newer.db"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE calls (call_id TEXT)")
    connection.close()
    text.write_text("call_id,time_start\n" * 100)
    sqlite_schema.prepare_file(newer)
    connection = sqlite3.connect(newer)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = [path.read_bytes() for path in (other, text, newer)]
    for path, reason in ((other, "not a ledger"), (text, "ledger is damaged"), (newer, "newer Onhook")):
        with pytest.raises(UsageError, match=reason):
            SqliteLedger(path)
    assert [path.read_bytes() for path in (other, text, newer)] == before


def test_open_missing_directory_names_the_path(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"cannot open the ledger: No such file.*nowhere/ledger\.db"):
        SqliteLedger(tmp_path / "nowhere" / "ledger.db")


async def test_append_three_processes_lose_nothing(tmp_path: Path) -> None:
    """The processes also create the file at the same time; they share repeats, and numbers give the order."""
    path = tmp_path / "ledger.db"
    spans = ((1, 150), (101, 250), (1, 150))
    processes = [_start("append", path, *span) for span in spans]
    ledger: SqliteLedger | None = None
    read: list[RawEvent] = []
    while ledger is None or any(process.poll() is None for process in processes):
        ledger = ledger or (SqliteLedger(path) if path.exists() else None)
        # A reader that follows never misses a lower number.
        read += await ledger.read(read[-1].seq if read else 0, 1_000) if ledger else []
        await asyncio.sleep(0.01)
    appended_counts = [len(process.communicate()[0].split()) for process in processes]
    assert appended_counts == [150] * 3
    read += await ledger.read(read[-1].seq if read else 0, 1_000)
    assert {raw_event.key for raw_event in read} == {expected.key for expected in entries(1, 250)}
    assert len(read) == 250
    await ledger.close()


async def test_wait_ends_by_the_signal_of_another_process(tmp_path: Path) -> None:
    """Also in a directory whose path is longer than the address of a socket; its socket is removed at the end."""
    directory = tmp_path / ("d" * 120)
    directory.mkdir()
    ledger = SqliteLedger(directory / "ledger.db")
    event = ledger._append_signal.prepare()
    process = _start("append", directory / "ledger.db", 1, 1)
    await event.wait()
    assert await ledger.wait(0, 0)
    process.communicate()
    await ledger.close()
    assert not list((directory / "ledger.db-waiters").iterdir())


async def test_wait_without_sockets_looks_from_time_to_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "bind", _fail_to_bind)
    ledger = SqliteLedger(tmp_path / "ledger.db")
    other = SqliteLedger(tmp_path / "ledger.db")
    waiting = asyncio.create_task(ledger.wait(0, 60.0))
    await other.append([entry(1)])
    while not await waiting:
        waiting = asyncio.create_task(ledger.wait(0, 60.0))
    await ledger.close()
    await other.close()


async def test_append_removes_the_socket_of_a_process_that_died(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.db")
    directory = tmp_path / "ledger.db-waiters"
    directory.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
        dead.bind(str(directory / "1-dead"))
    await ledger.append([entry(1)])
    assert not list(directory.iterdir())
    await ledger.close()


def _fail_to_bind(_socket: socket.socket, _address: str) -> None:
    raise OSError(errno.EPERM, "no sockets here")


async def test_append_during_long_write_does_not_block_event_loop(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = SqliteLedger(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    append_task = asyncio.ensure_future(ledger.append([entry(1)]))
    for _ in range(20):
        await asyncio.sleep(0.01)
    assert not append_task.done()
    other.execute("COMMIT")
    assert (await append_task)[0].outcome == "new"
    other.close()
    await ledger.close()


async def test_append_locked_too_long_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sqlite_schema._BUSY_SECONDS_BY_USE, "append", 0.1)
    path = tmp_path / "ledger.db"
    ledger = SqliteLedger(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked"):
        await ledger.append([entry(1)])
    other.execute("ROLLBACK")
    assert (await ledger.append([entry(1)]))[0].outcome == "new"
    other.close()
    await ledger.close()


@pytest.mark.parametrize("fast_seconds", [sqlite.FAST_COMMIT_SECONDS_MAX, -1.0], ids=["event loop", "append thread"])
async def test_append_without_space_is_rejected_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fast_seconds: float
) -> None:
    """The append succeeds again once there is space."""
    monkeypatch.setattr(sqlite, "FAST_COMMIT_SECONDS_MAX", fast_seconds)
    monkeypatch.setattr(sqlite, "SLOW_COMMIT_FACTOR", 1e9)
    path = tmp_path / "ledger.db"
    ledger = SqliteLedger(path)
    await ledger.append([entry(0)])
    for connection in (ledger._loop_connection, ledger._append_thread._connection):
        connection.execute("PRAGMA max_page_count = 40")
    stored_count = 1

    async def append_without_end() -> None:
        nonlocal stored_count
        for first in count(10, 10):
            await ledger.append(entries(first, first + 9))
            stored_count += 10

    with pytest.raises(Unavailable, match="full"):
        await append_without_end()
    assert len(await ledger.read(0, 1_000)) == stored_count
    for connection in (ledger._loop_connection, ledger._append_thread._connection):
        connection.execute("PRAGMA max_page_count = 1000000")
    assert len(await ledger.append(entries(5_000, 5_009))) == 10
    assert len(await ledger.read(0, 1_000)) == stored_count + 10
    await ledger.close()


def test_append_file_size_limit_loses_no_acknowledged_event(tmp_path: Path) -> None:
    """The process is refused_count at the limit and recovers when the limit is lifted."""
    path = tmp_path / "ledger.db"
    acknowledged = subprocess.run(
        [sys.executable, "-m", "tests.ledger.processes", "fill", str(path), "400000"],
        capture_output=True,
        check=True,
        text=True,
    ).stdout.split()
    raw_events = asyncio.run(_read_all(path))
    assert {entry(int(number)).key for number in acknowledged} == {raw_event.key for raw_event in raw_events}
    assert len(raw_events) == len(acknowledged)
    assert len(acknowledged) > 100


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")
def test_append_full_file_system_loses_no_acknowledged_event(tmp_path: Path) -> None:
    mount_point = tmp_path / "small"
    mount_point.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(mount_point)], check=False).returncode:
        pytest.skip("this machine does not allow mounts")
    try:
        (mount_point / "filler").write_bytes(bytes(1024 * 1024))
        acknowledged = asyncio.run(_fill_and_free(mount_point))
        raw_events = asyncio.run(_read_all(mount_point / "ledger.db"))
        assert {raw_event.key for raw_event in raw_events} == {entry(number).key for number in acknowledged}
    finally:
        subprocess.run(["umount", str(mount_point)], check=True)


async def _fill_and_free(mount_point: Path) -> list[int]:
    ledger = SqliteLedger(mount_point / "ledger.db")
    acknowledged: list[int] = []
    refused_count = 0
    for number in range(100_000):
        try:
            await ledger.append([entry(number)])
            acknowledged.append(number)
        except Unavailable:
            refused_count += 1
        if refused_count == 50:
            (mount_point / "filler").unlink(missing_ok=True)
        if refused_count > 50 and acknowledged[-1] == number:
            break
    assert refused_count > 50
    assert acknowledged[-1] > acknowledged[0]
    await ledger.close()
    return acknowledged


@pytest.mark.parametrize("rounds", [3, counts.rounds(50, seconds_each=5)])
def test_append_killed_process_loses_no_acknowledged_event(tmp_path: Path, rounds: int) -> None:
    rng = random.Random(rounds)
    path = tmp_path / "ledger.db"
    acknowledged: list[int] = []
    for number in range(rounds):
        process = _start("append", path, number * 10_000, number * 10_000 + 9_999)
        assert process.stdout is not None
        acknowledged.append(int(process.stdout.readline()))
        time.sleep(rng.uniform(0, 0.4))
        process.kill()
        acknowledged += [
            int(line) for line in process.communicate()[0].splitlines(keepends=True) if line.endswith("\n")
        ]
    raw_events = asyncio.run(_read_all(path))
    assert len(acknowledged) > rounds
    assert {entry(number).key for number in acknowledged} <= {raw_event.key for raw_event in raw_events}
    assert len({raw_event.key for raw_event in raw_events}) == len(raw_events)
    assert asyncio.run(_is_sound(path))


async def test_append_continuous_load_keeps_wal_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be large while the disk is busy, and does not grow with the ledger."""
    monkeypatch.setattr(sqlite, "CHECKPOINT_SECONDS", 0.01)
    monkeypatch.setattr(sqlite, "WAL_PAGES_MAX", 100)
    path = tmp_path / "ledger.db"
    ledger = SqliteLedger(path)
    wal = path.with_name("ledger.db-wal")
    entry_count = largest = 0
    for first in range(0, 100_000, 100):
        entry_count += len(await ledger.append(entries(first, first + 99)))
        largest = max(largest, wal.stat().st_size)
        if entry_count >= 10_000 and largest < path.stat().st_size / 2:
            break
        await asyncio.sleep(0.002)
    assert largest < path.stat().st_size / 2
    await ledger.close()


def _modes(directory: Path) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()}


def _start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.ledger.processes", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


async def _read_all(path: Path) -> list[RawEvent]:
    ledger = SqliteLedger(path)
    raw_events: list[RawEvent] = []
    while more := await ledger.read(raw_events[-1].seq if raw_events else 0, 10_000):
        raw_events += more
    await ledger.close()
    return raw_events


async def _is_sound(path: Path) -> bool:
    connection = sqlite3.connect(path)
    rows = connection.execute("PRAGMA integrity_check").fetchall()
    connection.close()
    return rows == [("ok",)]


async def test_delete_takes_the_write_lock_for_a_few_raw_events_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a thread, so that neither the event loop nor another process waits for all of them."""
    sizes: list[int] = []
    delete_rows = sqlite._delete_rows

    def delete_in_thread(connection: sqlite3.Connection, seqs: Sequence[int]) -> None:
        assert threading.current_thread() is not threading.main_thread()
        sizes.append(len(seqs))
        delete_rows(connection, seqs)

    monkeypatch.setattr(sqlite, "_delete_rows", delete_in_thread)
    monkeypatch.setattr(sqlite, "DELETE_SIZE", 2)
    monkeypatch.setattr(sqlite, "DELETE_PAUSE_SECONDS", 0)
    ledger = SqliteLedger(tmp_path / "ledger.db")
    await ledger.append(entries(1, 6))
    await ledger.delete([1, 2, 3, 4, 5])
    assert sizes == [2, 2, 1]
    assert [raw_event.seq for raw_event in await ledger.read(0, 10)] == [6]
    await ledger.close()


async def test_overwrite_deleted_no_bytes_are_left_in_the_files(tmp_path: Path) -> None:
    """Also of what a version deleted that left it in free pages; the file is not shortened."""
    path = tmp_path / "ledger.db"
    text = b"030901820"
    ledger = SqliteLedger(path)
    try:
        body = b"x" * 700 + text * 422  # the number is in the overflow pages alone
        batch = [entry(number, body=body) for number in range(100)]
        seqs = [result.seq for result in await ledger.append(batch)]
        await ledger.append(entries(200, 201))
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA secure_delete = OFF")
            connection.execute("DELETE FROM raw_events WHERE seq <= 50")
            connection.commit()
        await ledger.rewrite({seq: RewrittenContent("erased", b"nothing") for seq in seqs[50:]})
        await ledger.overwrite_deleted()
        size = path.stat().st_size
        assert not [file.name for file in tmp_path.iterdir() if file.is_file() and text in file.read_bytes()]
        await ledger.overwrite_deleted()
        assert path.stat().st_size == size
        assert len(await ledger.read(0, 1_000)) == 52
    finally:
        await ledger.close()


async def test_overwrite_deleted_while_a_reader_needs_the_wal_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = SqliteLedger(path)
    try:
        await ledger.append(entries(1, 10))
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM raw_events").fetchone()
            await ledger.append(entries(11, 20))
            with pytest.raises(Unavailable, match="in use"):
                await ledger.overwrite_deleted()
        await ledger.overwrite_deleted()
    finally:
        await ledger.close()
