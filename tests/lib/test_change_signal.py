"""The signal of a change: commits of this process, of others, and of one that died before its signal."""

import asyncio
import sqlite3
from contextlib import suppress
from pathlib import Path

import pytest

from onhook.lib.change_signal import LOOK_SECONDS, ChangeSignal


@pytest.fixture
def database(tmp_path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(tmp_path / "file.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE numbers (number INTEGER)")
    return connection


def _write(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO numbers VALUES (1)")


def _list_open_files() -> set[str]:
    """Return what is open in this process: sockets and pipes have numbers."""
    names = set()
    for path in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of the folder itself
            names.add(str(path.readlink()))
    return names


async def test_notify_wakes_both_processes(tmp_path: Path) -> None:
    writer, reader = ChangeSignal(tmp_path / "file.db"), ChangeSignal(tmp_path / "file.db")
    own_event, other_event = writer.prepare(), reader.prepare()
    writer.notify()
    assert own_event.is_set()
    await asyncio.wait_for(other_event.wait(), 10)
    writer.close()
    reader.close()


async def test_wait_notices_a_commit_without_a_signal(tmp_path: Path, database: sqlite3.Connection) -> None:
    signal = ChangeSignal(tmp_path / "file.db")
    event = signal.prepare()
    _write(database)
    await asyncio.wait_for(signal.wait(event, 60.0), 60.0)
    assert event.is_set()
    signal.close()


async def test_skip_ends_no_wait_of_any_process(tmp_path: Path, database: sqlite3.Connection) -> None:
    writer, reader = ChangeSignal(tmp_path / "file.db"), ChangeSignal(tmp_path / "file.db")
    own_event, other_event = writer.prepare(), reader.prepare()
    _write(database)
    writer.skip()
    await asyncio.gather(writer.wait(own_event, 1.5 * LOOK_SECONDS), reader.wait(other_event, 1.5 * LOOK_SECONDS))
    assert not own_event.is_set()
    assert not other_event.is_set()
    writer.close()
    reader.close()


async def test_notify_within_the_interval_wakes_once_at_its_end(tmp_path: Path) -> None:
    signal = ChangeSignal(tmp_path / "file.db", interval_seconds=0.05)
    first_event = signal.prepare()
    event = signal.prepare()
    for _ in range(3):
        signal.notify()
    assert not event.is_set()
    await asyncio.wait_for(event.wait(), 10)
    assert signal.prepare() is not first_event
    signal.close()


async def test_close_ends_waits(tmp_path: Path) -> None:
    signal = ChangeSignal(tmp_path / "file.db")
    event = signal.prepare()
    signal.close()
    await asyncio.wait_for(signal.wait(event, 60.0), 10)


async def test_notify_after_close_wakes_others_and_leaves_no_socket(tmp_path: Path) -> None:
    """A commit that was in progress when its database was closed."""
    writer, reader = ChangeSignal(tmp_path / "file.db"), ChangeSignal(tmp_path / "file.db")
    other_event = reader.prepare()
    open_files = _list_open_files()
    writer.prepare()
    writer.close()
    writer.notify()
    writer.prepare()
    assert _list_open_files() <= open_files  # garbage of other tests may be closed meanwhile
    await asyncio.wait_for(other_event.wait(), 10)
    reader.close()
