"""Locks between processes: held by one process, released when it ends."""

import subprocess
import sys
from pathlib import Path

import pytest

from onhook.lib import file_lock as file_lock_module
from onhook.lib.file_lock import file_lock, file_lock_soon, is_locked

HOLDER = """
import sys
from pathlib import Path
from onhook.lib.file_lock import file_lock
with file_lock(Path(sys.argv[1])) as has_lock:
    print(has_lock, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def lock_path(tmp_path: Path) -> Path:
    return tmp_path / "serve.lock"


def hold(path: Path) -> "subprocess.Popen[str]":
    """Return a process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    return process


def test_file_lock_free_is_held_exclusively(lock_path: Path) -> None:
    assert not is_locked(lock_path)
    with file_lock(lock_path) as has_lock:
        assert has_lock
        assert is_locked(lock_path)
    assert not is_locked(lock_path)


def test_file_lock_held_by_another_process_is_not_given(lock_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_lock_module, "ATTEMPTS_MAX", 1)
    process = hold(lock_path)
    with file_lock(lock_path) as has_lock:
        assert not has_lock
    process.kill()
    process.communicate()
    with file_lock(lock_path) as has_lock:
        assert has_lock


def test_file_lock_shared_allows_another_shared_one(lock_path: Path) -> None:
    with file_lock(lock_path, is_shared=True) as first, file_lock(lock_path, is_shared=True) as second:
        assert first
        assert second
        assert not is_locked(lock_path)


async def test_file_lock_soon_held_by_another_process_leaves_the_event_loop_free(
    lock_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other tasks run while it tries again."""

    def sleep_in_thread(_seconds: float) -> None:
        raise AssertionError("the event loop waits")

    monkeypatch.setattr("time.sleep", sleep_in_thread)
    process = hold(lock_path)
    async with file_lock_soon(lock_path) as has_lock:
        assert not has_lock
    process.kill()
    process.communicate()
    async with file_lock_soon(lock_path) as has_lock:
        assert has_lock
        assert is_locked(lock_path)
    assert not is_locked(lock_path)
