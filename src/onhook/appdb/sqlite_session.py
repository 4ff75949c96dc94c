"""A connection of SQLite in the hands of one task, whose statements run in a thread."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from onhook.appdb.session import TaskSession, deadline_error
from onhook.appdb.sqlite_file import translate_errors

ResultT = TypeVar("ResultT")
Work = Callable[[sqlite3.Connection], ResultT]


class SqliteSession(TaskSession):
    """One task's use of a connection of SQLite."""

    def __init__(
        self, connection: sqlite3.Connection, executor: ThreadPoolExecutor, path: Path, *, is_read_only: bool
    ) -> None:
        super().__init__(is_read_only=is_read_only)
        self._connection = connection
        self._executor = executor
        self._path = path
        self._pending: Future[Any] | None = None

    async def run(self, work: Work[ResultT], deadline: float) -> ResultT:
        """Run work in the thread. Where the caller is cancelled or the deadline passes, it is interrupted, and the
        transaction cannot be committed. Raises `Unavailable`, `ConstraintViolation`.
        """
        pending = self._submit(work)
        try:
            async with asyncio.timeout_at(deadline):
                return await follow(pending)
        except TimeoutError:
            self._connection.interrupt()
            self.error = deadline_error(self._path.name)
            raise self.error from None
        except asyncio.CancelledError as error:
            self._connection.interrupt()
            self.error = error
            raise

    async def run_to_end(self, work: Work[ResultT], deadline: float | None = None) -> ResultT:
        """Run work that commits: wait for its end whatever happens, so that the result is true. After the deadline it
        is interrupted, which a commit that has begun ignores. Raises `Unavailable`, `ConstraintViolation`.
        """
        pending = self._submit(work)
        timer = asyncio.get_running_loop().call_at(deadline, self._connection.interrupt) if deadline else None
        try:
            return await await_end(pending)
        finally:
            if timer is not None:
                timer.cancel()

    def end(self, release: Callable[[], None]) -> None:
        """Roll back what is not committed, then call `release` on the event loop; the caller does not wait for it."""
        is_idle = self._pending is None or self._pending.done()
        if is_idle and not self._connection.in_transaction:
            release()
            return
        loop = asyncio.get_running_loop()

        def roll_back_behind(_finished: object) -> None:
            rollback = self._executor.submit(roll_back, self._connection)
            rollback.add_done_callback(lambda _done: _call_on_loop(loop, release))

        if is_idle or self._pending is None:
            roll_back_behind(None)
        else:
            self._pending.add_done_callback(roll_back_behind)

    def _submit(self, work: Work[ResultT]) -> Future[ResultT]:
        def call() -> ResultT:
            with translate_errors(self._path.name):
                return work(self._connection)

        self._pending = pending = self._executor.submit(call)
        return pending


def follow(pending: Future[ResultT]) -> asyncio.Future[ResultT]:
    """Return a future of the event loop with the result of work in a thread. Cancelling it does not cancel the work;
    it has its result one turn of the loop earlier than `asyncio.shield` would have it.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[ResultT] = loop.create_future()

    def copy_result() -> None:
        if future.done():
            return
        if (error := pending.exception()) is None:
            future.set_result(pending.result())
        else:
            future.set_exception(error)

    pending.add_done_callback(lambda _done: _call_on_loop(loop, copy_result))
    return future


async def await_end(pending: Future[ResultT]) -> ResultT:
    """Wait for the end of work in a thread, also where the caller is cancelled; then raise the cancellation, or return
    the result.
    """
    cancellation: asyncio.CancelledError | None = None
    while not pending.done():
        try:
            await follow(pending)
        except asyncio.CancelledError as error:
            cancellation = error
        except Exception:  # noqa: BLE001 - that of the work, raised below
            break
    if cancellation is not None:
        raise cancellation
    return pending.result()


def roll_back(connection: sqlite3.Connection) -> None:
    """Roll back what is not committed."""
    if connection.in_transaction:
        # An error of the disk ends the transaction too, and the next statement reports it.
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")


def _call_on_loop(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:  # the loop is closed: the command is over
        callback()
