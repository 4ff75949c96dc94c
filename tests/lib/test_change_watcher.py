"""The change watcher: reads again only when the version has changed."""

import logging

import pytest

from onhook.lib.change_watcher import ChangeWatcher, appdb_failure_log
from onhook.lib.errors import Unavailable
from onhook.lib.transition_log import TransitionLog


class Source:
    """A value with a version that counts how often it is read."""

    def __init__(self) -> None:
        self.version = 0
        self.reads = 0
        self.error: Exception | None = None

    async def get_version(self) -> int:
        return self.version

    async def read(self) -> int:
        self.reads += 1
        if self.error is not None:
            raise self.error
        return self.version


async def test_poll_unchanged_version_reads_once() -> None:
    source = Source()
    watcher = ChangeWatcher(source.get_version, source.read)
    assert [await watcher.poll(), await watcher.poll()] == [0, None]
    assert source.reads == 1


async def test_current_changed_version_returns_the_new_value() -> None:
    source = Source()
    watcher = ChangeWatcher(source.get_version, source.read)
    assert await watcher.current() == 0
    source.version = 7
    assert [await watcher.current(), await watcher.current()] == [7, 7]
    assert source.reads == 2


async def test_poll_after_a_failed_read_reads_again() -> None:
    source = Source()
    watcher = ChangeWatcher(source.get_version, source.read)
    source.error = OSError("locked")
    with pytest.raises(OSError, match="locked"):
        await watcher.poll()
    source.error = None
    assert await watcher.poll() == 0


async def test_poll_or_log_lasting_failure_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    source = Source()
    watcher = ChangeWatcher(source.get_version, source.read)
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
    watcher = ChangeWatcher(source.get_version, source.read)
    source.error = Unavailable("the database is locked")
    await watcher.poll_or_log(appdb_failure_log(logging.getLogger("appdb"), consequence="using the last known PBXs"))
    assert [record.message for record in caplog.records] == [
        "cannot read the application database: using the last known PBXs"
    ]
