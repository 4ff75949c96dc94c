"""The copy of the store that queries read: made when one asks, shared while it is recent, removed afterwards.

Invariants: there is at most one copy on the disk, and none while nothing is asked, after an error or after a crash.
Data is at most ten minutes old when a query begins, in a store of some million records less than one; a number that was
erased before it began is not in it.
"""

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path

import msgspec

from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError
from onhook.store.sql.child_processes import ask_process
from onhook.store.sql.failures import to_error, translate_copy_errors
from onhook.store.sql.wire import CopyRequest

COPY_MODULE = "onhook.store.sql.copy_process"

COPY_SECONDS_MAX = 310.0
"""Time for the process, which ends by itself a little earlier: ten million records take some seconds."""

NICENESS = 5
"""Of the process: queries wait for it, and it needs little processor time."""

AGE_SECONDS_MIN = 5.0
"""A copy is shared for this long at least: several queries of one page."""

AGE_FACTOR = 15
"""A copy is shared for so many times as long as it took to make it: at most a fifteenth of the time is spent on it."""

AGE_SECONDS_MAX = 540.0
SMALL_AGE_SECONDS_MAX = 45.0
SMALL_BYTES = 256 * 2**20
"""A store with less than this, some two million records, is copied again within a minute."""

RESERVE_BYTES = 512 * 2**20
"""Space on the disk that stays free: the ledger's, for weeks of events."""

DIRECTORY_MODE = 0o700


class CopyInfo(msgspec.Struct, frozen=True):
    """A copy: its file, the time of its data, when it must no longer be used, by the loop's clock, and how many times a
    copy was forgotten before it was begun.
    """

    path: Path
    data_at: datetime
    expires_at: float
    forgotten_count: int


class StoreCopy:
    """The copy of one store, in a directory of its own."""

    def __init__(self, source: Path, directory: Path, clock: Clock) -> None:
        self._source = source
        self._directory = directory
        self._clock = clock
        self._copy: CopyInfo | None = None
        self._copies_made = 0
        self._forgotten_count = 0
        self._removals: set[asyncio.Task[None]] = set()
        self._readers = 0
        self._files_lock = asyncio.Lock()
        self._has_no_reader = asyncio.Event()
        self._has_no_reader.set()
        self._making_task: asyncio.Task[CopyInfo] | None = None
        self._expiry_task: asyncio.Task[None] | None = None

    @property
    def current(self) -> CopyInfo | None:
        """Return the copy that the next query will read, None where one would have to be made."""
        return self._copy if self._copy is not None and not self._is_expired(self._copy) else None

    @asynccontextmanager
    async def use(self) -> AsyncIterator[CopyInfo]:
        """Yield a copy that stays until the block ends. Raises `OnhookError` where none can be made."""
        while (copy := self.current) is None:
            # One attempt for all that wait, which goes on when one of them gives up.
            if self._making_task is None:
                self._making_task = asyncio.create_task(self._replace(self._copy))
                self._making_task.add_done_callback(self._on_made)
            await asyncio.shield(self._making_task)
        self._readers += 1
        self._has_no_reader.clear()
        try:
            yield copy
        finally:
            self._readers -= 1
            if not self._readers:
                self._has_no_reader.set()

    def forget(self) -> None:
        """Have no query that begins from now on read a copy of the store as it was before, also one that is being made;
        remove the file once no query reads it.
        """
        self._forgotten_count += 1
        if self._copy is not None:
            task = asyncio.create_task(self._remove(self._copy))
            self._removals.add(task)
            task.add_done_callback(self._removals.discard)

    async def remove_all(self) -> None:
        """Remove the directory, with what a crash left in it. No query may run."""
        self._copy = None
        await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)

    async def close(self) -> None:
        """Stop making a copy, and remove it. No query may run."""
        tasks = [task for task in (self._making_task, self._expiry_task, *self._removals) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self.remove_all()

    async def _replace(self, old_copy: CopyInfo | None) -> CopyInfo:
        """Make a new copy, when the old one is no longer read and removed."""
        self._copy = None
        await self._has_no_reader.wait()
        async with self._files_lock:
            if self._expiry_task is not None:
                self._expiry_task.cancel()
            if old_copy is not None:
                await asyncio.to_thread(_delete_copy, old_copy.path)
            self._copies_made += 1
            path = self._directory / f"{self._copies_made}.duckdb"
            try:
                self._copy = await self._make(path)
            except BaseException:
                await asyncio.to_thread(_delete_copy, path)
                raise
            self._expiry_task = asyncio.create_task(self._remove_when_expired(self._copy))
            return self._copy

    async def _make(self, path: Path) -> CopyInfo:
        loop = asyncio.get_running_loop()
        data_at, started_at, forgotten_count = self._clock.now(), loop.time(), self._forgotten_count
        with translate_copy_errors(self._source):
            await asyncio.to_thread(self._directory.mkdir, DIRECTORY_MODE, parents=True, exist_ok=True)
            request = CopyRequest(source=str(self._source), target=str(path), reserve_bytes=RESERVE_BYTES)
            reply = await ask_process(COPY_MODULE, request, seconds_max=COPY_SECONDS_MAX, niceness=NICENESS)
            if reply.failure is not None:
                raise to_error(reply.failure, location=str(self._source))
            size = (await asyncio.to_thread(path.stat)).st_size
        made_in_seconds = loop.time() - started_at
        logging.getLogger("sql").debug(
            "copied the store for queries", extra={"bytes": size, "seconds": round(made_in_seconds, 2)}
        )
        # Those who waited for it read it, however long it took.
        expires_at = max(started_at + share_seconds(size, made_in_seconds), loop.time() + AGE_SECONDS_MIN)
        return CopyInfo(path, data_at, expires_at, forgotten_count)

    async def _remove_when_expired(self, copy: CopyInfo) -> None:
        await asyncio.sleep(copy.expires_at - asyncio.get_running_loop().time())
        await self._remove(copy)

    async def _remove(self, copy: CopyInfo) -> None:
        await self._has_no_reader.wait()
        async with self._files_lock:
            if self._copy is copy:
                self._copy = None
                await asyncio.to_thread(_delete_copy, copy.path)

    def _is_expired(self, copy: CopyInfo) -> bool:
        return copy.forgotten_count < self._forgotten_count or asyncio.get_running_loop().time() >= copy.expires_at

    def _on_made(self, task: asyncio.Task[CopyInfo]) -> None:
        self._making_task = None
        if not task.cancelled() and isinstance(error := task.exception(), OnhookError):
            logging.getLogger("sql").warning("cannot copy the store for queries", extra={"error": str(error)})


def _delete_copy(path: Path) -> None:
    """Delete a copy, its write-ahead log, and the directory when it is empty."""
    path.unlink(missing_ok=True)
    path.with_name(path.name + ".wal").unlink(missing_ok=True)
    with suppress(OSError):  # not empty, or gone
        path.parent.rmdir()


def share_seconds(size: int, made_in_seconds: float) -> float:
    """Return for how many seconds after its begin a copy is used.

    >>> share_seconds(1_000_000, 0.1), share_seconds(100_000_000, 1.0), share_seconds(100_000_000, 9.0)
    (5.0, 15.0, 45.0)
    >>> share_seconds(1_000_000_000, 10.0), share_seconds(9_000_000_000, 90.0)
    (150.0, 540.0)
    """
    age_seconds_max = SMALL_AGE_SECONDS_MAX if size < SMALL_BYTES else AGE_SECONDS_MAX
    return min(max(AGE_SECONDS_MIN, made_in_seconds * AGE_FACTOR), age_seconds_max)
