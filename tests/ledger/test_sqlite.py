"""The ledger in SQLite: files, other processes, full disks, sudden death."""

import asyncio
import os
import random
import sqlite3
import stat
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import pytest

from onhook.ledger import sqlite, sqlite_schema
from onhook.ledger.contract import CounterKey, RawEvent
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.errors import Unavailable, UsageError
from tests.ledger.entries import NOW, SN, entries, entry


async def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    """The file and those that SQLite puts beside it have mode 0600, even if somebody had opened it wider."""
    path = tmp_path / "ledger.db"
    path.touch(mode=0o644)
    ledger = SqliteLedger(path)
    await ledger.append([entry(1)])
    assert _modes(tmp_path) == {"ledger.db": 0o600, "ledger.db-wal": 0o600, "ledger.db-shm": 0o600}
    await ledger.close()


async def test_it_survives_being_opened_again(tmp_path: Path) -> None:
    """Reports, numbers and tallies are there after closing, and numbers go on where they were."""
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
async def test_a_file_that_was_removed_keeps_nothing(tmp_path: Path, name: str) -> None:
    """What is written to a file without a name is lost: nobody is told that it was kept, not even once."""
    ledger = SqliteLedger(tmp_path / "ledger.db")
    await ledger.append([entry(1)])
    (tmp_path / name).rename(tmp_path / "away")
    for n in (2, 3):
        with pytest.raises(Unavailable, match="was removed"):
            await ledger.append([entry(n)])
    (tmp_path / name).touch()
    with pytest.raises(Unavailable, match="another put in its place"):
        await ledger.append([entry(4)])
    (tmp_path / "away").replace(tmp_path / name)
    assert (await ledger.append([entry(5)]))[0].seq > 1
    await ledger.close()


def test_commits_reach_the_disk(tmp_path: Path) -> None:
    """Connections that append are in WAL mode and wait for the disk: FULL is 2."""
    path = tmp_path / "ledger.db"
    sqlite_schema.prepare_file(path)
    uses: tuple[sqlite_schema.ConnectionUse, ...] = ("try_append", "append")
    for use in uses:
        connection = sqlite_schema.connect(path, use)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        connection.close()


def test_a_half_made_file_is_made_whole(tmp_path: Path) -> None:
    """What a power cut leaves, an empty file or one without tables, is a new ledger."""
    empty, bare = tmp_path / "empty.db", tmp_path / "bare.db"
    empty.touch()
    connection = sqlite3.connect(bare)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    for path in (empty, bare):
        sqlite_schema.prepare_file(path)
        sqlite_schema.prepare_file(path)


def test_what_is_no_ledger_is_left_alone(tmp_path: Path) -> None:
    """Another program's database, a text and a ledger of a newer Onhook are refused in one sentence, untouched."""
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
    for path, reason in ((other, "not a ledger"), (text, "no sound ledger"), (newer, "newer Onhook")):
        with pytest.raises(UsageError, match=reason):
            SqliteLedger(path)
    assert [path.read_bytes() for path in (other, text, newer)] == before


def test_a_place_that_is_none_is_told(tmp_path: Path) -> None:
    """Without its directory the ledger cannot be opened, and the sentence says where."""
    with pytest.raises(Unavailable, match=r"cannot be opened: No such file.*nowhere/ledger\.db"):
        SqliteLedger(tmp_path / "nowhere" / "ledger.db")


async def test_three_processes_append_at_once(tmp_path: Path) -> None:
    """Processes that even make the file at the same time lose nothing, share repeats, and numbers tell the order."""
    path = tmp_path / "ledger.db"
    spans = ((1, 150), (101, 250), (1, 150))
    running = [_start("append", path, *span) for span in spans]
    ledger: SqliteLedger | None = None
    read: list[RawEvent] = []
    while ledger is None or any(one.poll() is None for one in running):
        ledger = ledger or (SqliteLedger(path) if path.exists() else None)
        # A reader that follows never finds a lower number behind it.
        read += await ledger.read(read[-1].seq if read else 0, 1_000) if ledger else []
        await asyncio.sleep(0.01)
    told = [len(one.communicate()[0].split()) for one in running]
    assert told == [150] * 3
    read += await ledger.read(read[-1].seq if read else 0, 1_000)
    assert {report.key for report in read} == {one.key for one in entries(1, 250)}
    assert len(read) == 250
    await ledger.close()


async def test_a_long_writer_is_waited_for_beside_the_loop(tmp_path: Path) -> None:
    """While another process writes, the event loop goes on; the append succeeds as soon as the other is done."""
    path = tmp_path / "ledger.db"
    ledger = SqliteLedger(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    appending = asyncio.ensure_future(ledger.append([entry(1)]))
    for _ in range(20):
        await asyncio.sleep(0.01)
    assert not appending.done()
    other.execute("COMMIT")
    assert (await appending)[0].is_new
    other.close()
    await ledger.close()


async def test_a_lock_held_too_long_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the bounded wait the caller is told to try again, and nothing was kept; later it works again."""
    monkeypatch.setitem(sqlite_schema._BUSY_SECONDS_BY_USE, "append", 0.1)
    path = tmp_path / "ledger.db"
    ledger = SqliteLedger(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked"):
        await ledger.append([entry(1)])
    other.execute("ROLLBACK")
    assert (await ledger.append([entry(1)]))[0].is_new
    other.close()
    await ledger.close()


@pytest.mark.parametrize(
    "swift_seconds", [sqlite.FAST_COMMIT_SECONDS_MAX, -1.0], ids=["in the loop", "beside the loop"]
)
async def test_a_failed_append_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swift_seconds: float
) -> None:
    """When the file may not grow, all entries of the append are refused or none is, and space makes it work again."""
    monkeypatch.setattr(sqlite, "FAST_COMMIT_SECONDS_MAX", swift_seconds)
    monkeypatch.setattr(sqlite, "SLOW_COMMIT_FACTOR", 1e9)
    path = tmp_path / "ledger.db"
    ledger = SqliteLedger(path)
    await ledger.append([entry(0)])
    for lane in (ledger._loop_connection, ledger._append_thread._connection):
        lane.execute("PRAGMA max_page_count = 40")
    kept = 1

    async def append_without_end() -> None:
        nonlocal kept
        for first in count(10, 10):
            await ledger.append(entries(first, first + 9))
            kept += 10

    with pytest.raises(Unavailable, match="full"):
        await append_without_end()
    assert len(await ledger.read(0, 1_000)) == kept
    for lane in (ledger._loop_connection, ledger._append_thread._connection):
        lane.execute("PRAGMA max_page_count = 1000000")
    assert len(await ledger.append(entries(5_000, 5_009))) == 10
    assert len(await ledger.read(0, 1_000)) == kept + 10
    await ledger.close()


def test_a_full_disk_loses_nothing_that_was_told(tmp_path: Path) -> None:
    """A process whose files may not grow refuses, recovers when they may, and what it told durable is all there."""
    path = tmp_path / "ledger.db"
    told = subprocess.run(
        [sys.executable, "-m", "tests.ledger.processes", "fill", str(path), "400000"],
        capture_output=True,
        check=True,
        text=True,
    ).stdout.split()
    kept = asyncio.run(_read_all(path))
    assert {entry(int(number)).key for number in told} == {report.key for report in kept}
    assert len(kept) == len(told)
    assert len(told) > 100


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")
def test_a_small_file_system_loses_nothing_that_was_told(tmp_path: Path) -> None:
    """The same on a file system that is really full, and free again when something else is removed from it."""
    place = tmp_path / "small"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(place)], check=False).returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        (place / "ballast").write_bytes(bytes(1024 * 1024))
        told = asyncio.run(_fill_and_free(place))
        kept = asyncio.run(_read_all(place / "ledger.db"))
        assert {report.key for report in kept} == {entry(number).key for number in told}
    finally:
        subprocess.run(["umount", str(place)], check=True)


async def _fill_and_free(place: Path) -> list[int]:
    ledger = SqliteLedger(place / "ledger.db")
    told: list[int] = []
    refused = 0
    for number in range(100_000):
        try:
            await ledger.append([entry(number)])
            told.append(number)
        except Unavailable:
            refused += 1
        if refused == 50:
            (place / "ballast").unlink(missing_ok=True)
        if refused > 50 and told[-1] == number:
            break
    assert refused > 50
    assert told[-1] > told[0]
    await ledger.close()
    return told


@pytest.mark.parametrize("rounds", [3, pytest.param(50, marks=[pytest.mark.slow, pytest.mark.timeout(300)])])
def test_sudden_death_loses_nothing_that_was_told(tmp_path: Path, rounds: int) -> None:
    """`kill -9` at random moments, again and again: what was told durable is there, whole, and once."""
    chance = random.Random(rounds)
    path = tmp_path / "ledger.db"
    told: list[int] = []
    for number in range(rounds):
        running = _start("append", path, number * 10_000, number * 10_000 + 9_999)
        time.sleep(chance.uniform(0.2, 0.6))
        running.kill()
        told += [int(line) for line in running.communicate()[0].splitlines(keepends=True) if line.endswith("\n")]
    kept = asyncio.run(_read_all(path))
    assert len(told) > rounds
    assert {entry(number).key for number in told} <= {report.key for report in kept}
    assert len({report.key for report in kept}) == len(kept)
    assert asyncio.run(_is_sound(path))


async def test_the_log_stays_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a load that never pauses, the WAL begins anew instead of growing for ever."""
    monkeypatch.setattr(sqlite, "CHECKPOINT_SECONDS", 0.01)
    monkeypatch.setattr(sqlite, "WAL_PAGES_MAX", 100)
    path = tmp_path / "ledger.db"
    ledger = SqliteLedger(path)
    wal = path.with_name("ledger.db-wal")
    written = largest = 0
    for first in range(0, 10_000, 100):
        written += len(await ledger.append(entries(first, first + 99)))
        largest = max(largest, wal.stat().st_size)
        await asyncio.sleep(0.002)
    assert written == 10_000
    assert largest < path.stat().st_size / 2
    await ledger.close()


def _modes(directory: Path) -> dict[str, int]:
    return {one.name: stat.S_IMODE(one.stat().st_mode) for one in directory.iterdir()}


def _start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.ledger.processes", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


async def _read_all(path: Path) -> list[RawEvent]:
    ledger = SqliteLedger(path)
    reports: list[RawEvent] = []
    while more := await ledger.read(reports[-1].seq if reports else 0, 10_000):
        reports += more
    await ledger.close()
    return reports


async def _is_sound(path: Path) -> bool:
    connection = sqlite3.connect(path)
    found = connection.execute("PRAGMA integrity_check").fetchall()
    connection.close()
    return found == [("ok",)]
