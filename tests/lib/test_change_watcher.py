"""The change watcher: reads again only when the version has changed."""

import asyncio
import logging

import pytest

from onhook.lib.change_watcher import ChangeWatcher, appdb_failure_log
from onhook.lib.errors import Unavailable
from onhook.lib.transition_log import TransitionLog


class Source:
    """A value with a version that counts how often it is read."""

    def __init__(self) -> None:
        self.current_version = 0
        self.reads = 0
        self.waits = 0
        self.error: Exception | None = None

    async def version(self) -> int:
        return self.current_version

    async def wait_for_change(self, version: int, seconds: float) -> int:
        self.waits += 1
        if self.current_version == version:
            await asyncio.sleep(seconds)
        return self.current_version

    async def read(self) -> int:
        self.reads += 1
        if self.error is not None:
            raise self.error
        return self.current_version


async def test_poll_unchanged_version_reads_once() -> None:
    source = Source()
    watcher = ChangeWatcher(source, source.read)
    assert [await watcher.poll(), await watcher.poll()] == [0, None]
    assert source.reads == 1


async def test_current_changed_version_returns_the_new_value() -> None:
    source = Source()
    watcher = ChangeWatcher(source, source.read)
    assert await watcher.current() == 0
    source.current_version = 7
    assert [await watcher.current(), await watcher.current()] == [7, 7]
    assert source.reads == 2


async def test_poll_after_a_failed_read_reads_again() -> None:
    source = Source()
    watcher = ChangeWatcher(source, source.read)
    source.error = OSError("locked")
    with pytest.raises(OSError, match="locked"):
        await watcher.poll()
    source.error = None
    assert await watcher.poll() == 0


async def test_poll_or_log_lasting_failure_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    source = Source()
    watcher = ChangeWatcher(source, source.read)
    failure_log = TransitionLog(logging.getLogger("appdb"), begins="cannot read", ends="can be read again")
    source.error = Unavailable("the database is locked")
    assert [await watcher.poll_or_log(failure_log) for _ in range(2)] == [None, None]
    source.error = None
    assert [await watcher.poll_or_log(failure_log) for _ in range(2)] == [0, None]
    assert [record.message for record in caplog.records] == ["cannot read", "can be read again"]


async def test_poll_or_log_of_the_application_database_says_what_is_done_meanwhile(
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = Source()
    watcher = ChangeWatcher(source, source.read)
    source.error = Unavailable("the database is locked")
    await watcher.poll_or_log(appdb_failure_log(logging.getLogger("appdb"), consequence="using the last known PBXs"))
    assert [record.message for record in caplog.records] == [
        "cannot read the application database: using the last known PBXs"
    ]


async def test_wait_ends_with_a_change() -> None:
    source = Source()
    watcher = ChangeWatcher(source, source.read)
    await watcher.poll()
    source.current_version = 1
    await watcher.wait(0.0, 60.0)
    assert source.waits == 1
    assert await watcher.poll() == 1


async def test_wait_after_a_failed_poll_asks_the_source_for_nothing() -> None:
    """A source that cannot be read, and whose version has changed, would end each wait at once."""
    source = Source()
    watcher = ChangeWatcher(source, source.read)
    await watcher.poll()
    source.current_version, source.error = 1, OSError("locked")
    with pytest.raises(OSError, match="locked"):
        await watcher.poll()
    await watcher.wait(0.0, 60.0)
    assert source.waits == 0
