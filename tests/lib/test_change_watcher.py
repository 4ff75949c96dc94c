"""The change watcher: reads again only when the version has changed."""

import pytest

from onhook.lib.change_watcher import ChangeWatcher


class Source:
    """A value with a version that counts how often it is read."""

    def __init__(self) -> None:
        self.version = (0, 0)
        self.reads = 0
        self.error: Exception | None = None

    def read(self) -> int:
        self.reads += 1
        if self.error is not None:
            raise self.error
        return self.version[1]


def test_poll_unchanged_version_reads_once() -> None:
    source = Source()
    watcher = ChangeWatcher(lambda: source.version, source.read)
    assert [watcher.poll(), watcher.poll()] == [0, None]
    assert source.reads == 1


def test_current_changed_version_returns_the_new_value() -> None:
    source = Source()
    watcher = ChangeWatcher(lambda: source.version, source.read)
    assert watcher.current() == 0
    source.version = (0, 7)
    assert [watcher.current(), watcher.current()] == [7, 7]
    assert source.reads == 2


def test_poll_after_a_failed_read_reads_again() -> None:
    source = Source()
    watcher = ChangeWatcher(lambda: source.version, source.read)
    source.error = OSError("locked")
    with pytest.raises(OSError, match="locked"):
        watcher.poll()
    source.error = None
    assert watcher.poll() == 0
