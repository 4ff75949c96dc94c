"""Locks between processes, on files. The operating system releases a lock when its process ends."""

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

FILE_MODE = 0o600

ATTEMPTS_MAX = 10
RETRY_SECONDS = 0.02
"""A fifth of a second in total: a process that only checks holds the lock for microseconds."""


@contextmanager
def file_lock(path: Path, *, is_shared: bool = False) -> Iterator[bool]:
    """Hold the lock of that name; yield False if another process has it. Not for a coroutine: it sleeps."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, FILE_MODE)
    try:
        yield _acquire_soon(descriptor, fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX)
    finally:
        os.close(descriptor)


@asynccontextmanager
async def file_lock_soon(path: Path) -> AsyncIterator[bool]:
    """Hold the lock of that name like `file_lock`, in a coroutine: other tasks run while another process has it."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, FILE_MODE)
    try:
        has_lock = _try_acquire(descriptor, fcntl.LOCK_EX)
        for _ in range(ATTEMPTS_MAX - 1):
            if has_lock:
                break
            await asyncio.sleep(RETRY_SECONDS)
            has_lock = _try_acquire(descriptor, fcntl.LOCK_EX)
        yield has_lock
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Return whether another process holds the lock exclusively. Raises `OSError`; a missing file is not locked."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        return not _try_acquire(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _acquire_soon(descriptor: int, operation: int) -> bool:
    for _ in range(ATTEMPTS_MAX):
        if _try_acquire(descriptor, operation):
            return True
        time.sleep(RETRY_SECONDS)
    return False


def _try_acquire(descriptor: int, operation: int) -> bool:
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
