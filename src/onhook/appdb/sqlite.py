"""The engine SQLite: one thread that writes, a few that read, and their connections.

The event loop waits, never a thread: for its turn, for a lock of another process, for a result. So every wait has a
deadline and can be cancelled. What a caller that gave up has begun is interrupted and rolled back behind it.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from onhook.appdb.audited_tables import Change
from onhook.appdb.contract import CALL_SECONDS_MAX, TRANSACTION_SECONDS_MAX, Row, Statement, Version
from onhook.appdb.fence import SELECT_FENCE, Lease, check_fence, get_lease
from onhook.appdb.origin import Origin, get_origin
from onhook.appdb.session import CurrentSession, SharedVersion, Slots, limited_in_time
from onhook.appdb.sqlite_audit import create_triggers, record_changes
from onhook.appdb.sqlite_file import Locked, open_reader, open_writer, overwrite_deleted, translate_errors
from onhook.appdb.sqlite_session import SqliteSession, await_end, roll_back
from onhook.lib.change_signal import ChangeSignal
from onhook.lib.errors import Unavailable
from onhook.lib.messages import _

READERS_MAX = 4
"""Threads that read: more would only wait for the same disk."""

QUEUE_MAX = 1_000
"""Calls that wait for a thread: each destination has one or two, each page a few."""

LOCK_PAUSE_SECONDS_FIRST = 0.001
LOCK_PAUSE_SECONDS_MAX = 0.02
"""Between two tries for a lock that another process has: most have it for milliseconds."""

CHANGE_INTERVAL_SECONDS = 0.1
"""Time between two notifications of changes: many commits soon after one another are read together."""

ResultT = TypeVar("ResultT")


class SqliteDatabase:
    """See the contract, `appdb.contract.Database`. The first call opens the file; threads start when they are needed.

    `call_seconds` is the deadline of each call, `transaction_seconds` that of the block of a transaction.
    """

    def __init__(
        self,
        path: Path,
        *,
        call_seconds: float = CALL_SECONDS_MAX,
        transaction_seconds: float = TRANSACTION_SECONDS_MAX,
    ) -> None:
        self._path = path
        self._call_seconds = call_seconds
        self._transaction_seconds = transaction_seconds
        self._writer: sqlite3.Connection | None = None
        self._idle_readers: list[sqlite3.Connection] = []
        self._monitor: sqlite3.Connection | None = None
        self._write_slots = Slots(1, waiting_max=QUEUE_MAX, location=path.name)
        self._read_slots = Slots(READERS_MAX, waiting_max=QUEUE_MAX, location=path.name)
        self._version_slots = Slots(1, waiting_max=QUEUE_MAX, location=path.name)
        self._write_executor = ThreadPoolExecutor(1, "appdb-writer")
        self._read_executor = ThreadPoolExecutor(READERS_MAX, "appdb-reader")
        self._version_executor = ThreadPoolExecutor(1, "appdb-version")
        self._session = CurrentSession[SqliteSession]()
        self._change_signal = ChangeSignal(path, interval_seconds=CHANGE_INTERVAL_SECONDS)
        self._has_triggers = False
        self._is_closed = False
        self._shared_version = SharedVersion(self._read_version, self._version_slots)

    async def open(self) -> None:
        if self._writer is None:
            async with self._write_slots.acquired(self._deadline()):
                await self._open_writer()

    # Statements

    async def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        parameters = _bind(sql, values)
        return await self._read(lambda connection: connection.execute(sql, parameters).fetchall())

    async def rows_many(self, sql: str, values_list: Sequence[Sequence[Any]]) -> list[list[Row]]:
        return await self.rows_each([(sql, values) for values in values_list])

    async def rows_each(self, statements: Sequence[Statement]) -> list[list[Row]]:
        if not statements:
            return []
        return await self._read(
            lambda connection: [connection.execute(sql, _bind(sql, values)).fetchall() for sql, values in statements]
        )

    async def write(
        self, sql: str, values: Sequence[Any] = (), *, seconds: float | None = None, is_awaited: bool = True
    ) -> int:
        outer = self._session.get()
        if outer is not None:
            parameters = _bind(sql, values)
            return await outer.run(lambda connection: connection.execute(sql, parameters).rowcount, self._deadline())
        deadline = self._deadline(seconds)
        async with self._write_session(deadline) as session:
            write = partial(_write_and_commit, sql, values, get_origin(), get_lease())
            row_count = await _retry_while_locked(lambda: session.run_to_end(write, deadline), deadline)
        self._announce_commit(is_awaited=is_awaited)
        return row_count

    async def write_many(self, sql: str, values_list: Sequence[Sequence[Any]]) -> int:
        if not values_list:
            return 0
        async with self.transaction():
            return await self._session.require().run(
                lambda connection: connection.executemany(sql, (_bind(sql, values) for values in values_list)).rowcount,
                self._deadline(),
            )

    # Transactions

    @asynccontextmanager
    async def transaction(self, *, read_only: bool = False, is_awaited: bool = True) -> AsyncIterator[None]:
        outer = self._session.get()
        if outer is not None:
            assert read_only or not outer.is_read_only, "a transaction that reads cannot write"
            with outer.failing_with_block():
                yield
            return
        deadline = self._deadline()
        async with self._read_session(deadline) if read_only else self._write_session(deadline) as session:
            begin = "BEGIN" if read_only else "BEGIN IMMEDIATE"
            await _retry_while_locked(
                lambda: session.run(lambda connection: connection.execute(begin), deadline), deadline
            )
            async with limited_in_time(self._transaction_seconds, self._path.name):
                with self._session.joining(session):
                    yield
            if session.error is not None:
                raise session.error
            if read_only:
                return
            await session.run_to_end(partial(_commit, get_origin(), get_lease(), session.noted_changes))
        self._announce_commit(is_awaited=is_awaited)

    def note_change(self, change: Change) -> None:
        self._session.require().noted_changes.append(change)

    async def discard_changes(self) -> None:
        session = self._session.require()
        await session.run(lambda connection: connection.execute("DELETE FROM changes"), self._deadline())

    async def overwrite_deleted(self, seconds: float) -> None:
        deadline = self._deadline(seconds)
        async with self._write_session(deadline) as session:
            await _retry_while_locked(lambda: session.run_to_end(overwrite_deleted, deadline), deadline)
        self._announce_commit(is_awaited=False)

    # Change notification

    async def version(self) -> Version:
        self._check_is_open()
        await self.open()
        # Callers that run in this turn of the event loop can share what is read after it.
        await asyncio.sleep(0)
        if (change_count := self._change_signal.count()) is not None:
            return change_count
        return await self._shared_version.get(self._deadline())

    async def _read_version(self, deadline: float) -> Version:
        if self._monitor is None:
            self._monitor = await self._open_reader(self._version_executor)
        session = SqliteSession(self._monitor, self._version_executor, self._path, is_read_only=True)
        return await _retry_while_locked(lambda: session.run(_read_version, deadline), deadline)

    async def wait_for_change(self, version: Version, seconds: float) -> Version:
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            self._check_is_open()
            event = self._change_signal.prepare()
            current_version = await self.version()
            remaining_seconds = deadline - asyncio.get_running_loop().time()
            if current_version != version or remaining_seconds <= 0:
                return current_version
            await self._change_signal.wait(event, remaining_seconds)

    async def lease_time(self, now_us: int) -> int:
        return now_us

    async def describe(self) -> str:
        return f"SQLite {sqlite3.sqlite_version}"

    async def schema_statements(self) -> list[str]:
        return [text for (text,) in await self.rows("SELECT sql FROM sqlite_schema WHERE sql <> ''")]

    async def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._change_signal.close()
        deadline = self._deadline()
        executors = (self._write_executor, self._read_executor, self._version_executor)
        with suppress(Unavailable):
            # Calls in progress end first, also those of callers that gave up.
            for slots in (self._write_slots, self._read_slots, self._version_slots):
                await slots.acquire_all(deadline)
            # The writer is the last one: SQLite then copies the write-ahead log to the file, which no reader may write.
            connections = [*self._idle_readers, self._monitor, self._writer]
            self._writer, self._monitor, self._idle_readers = None, None, []
            for connection in filter(None, connections):
                await await_end(self._write_executor.submit(connection.close))
        for executor in executors:
            executor.shutdown(wait=False)

    # Sessions

    async def _read(self, work: Callable[[sqlite3.Connection], ResultT]) -> ResultT:
        deadline = self._deadline()
        outer = self._session.get()
        if outer is not None:
            return await outer.run(work, deadline)
        async with self._read_session(deadline) as session:
            return await _retry_while_locked(lambda: session.run(work, deadline), deadline)

    @asynccontextmanager
    async def _read_session(self, deadline: float) -> AsyncIterator[SqliteSession]:
        self._check_is_open()
        await self.open()
        await self._read_slots.acquire(deadline)
        try:
            connection = (
                self._idle_readers.pop() if self._idle_readers else await self._open_reader(self._read_executor)
            )
        except BaseException:
            self._read_slots.release()
            raise

        def release() -> None:
            self._idle_readers.append(connection)
            self._read_slots.release()

        session = SqliteSession(connection, self._read_executor, self._path, is_read_only=True)
        try:
            yield session
        finally:
            session.end(release)

    @asynccontextmanager
    async def _write_session(self, deadline: float) -> AsyncIterator[SqliteSession]:
        self._check_is_open()
        await self._write_slots.acquire(deadline)
        try:
            connection = self._writer or await self._open_writer()
            await self._create_triggers(connection)
        except BaseException:
            self._write_slots.release()
            raise
        session = SqliteSession(connection, self._write_executor, self._path, is_read_only=False)
        try:
            yield session
        finally:
            session.end(self._write_slots.release)

    async def _open_writer(self) -> sqlite3.Connection:
        """Return the connection of the writer, which has its turn. Opening is not interrupted: a migration takes
        seconds at most, and is done then.
        """
        self._check_is_open()
        if self._writer is None:
            self._writer = await await_end(self._write_executor.submit(open_writer, self._path))
        return self._writer

    async def _create_triggers(self, connection: sqlite3.Connection) -> None:
        """Create the triggers before the first write: a command that only reads does without them."""
        if not self._has_triggers:
            await await_end(self._write_executor.submit(_prepare_audit, self._path, connection))
            self._has_triggers = True

    async def _open_reader(self, executor: ThreadPoolExecutor) -> sqlite3.Connection:
        self._check_is_open()
        return await await_end(executor.submit(open_reader, self._path))

    def _check_is_open(self) -> None:
        if self._is_closed:
            raise Unavailable(_("the application database is closed"), location=str(self._path))

    def _announce_commit(self, *, is_awaited: bool) -> None:
        if is_awaited:
            self._change_signal.notify()
        else:
            self._change_signal.skip()

    def _deadline(self, seconds: float | None = None) -> float:
        return asyncio.get_running_loop().time() + (self._call_seconds if seconds is None else seconds)


async def _retry_while_locked(call: Callable[[], Awaitable[ResultT]], deadline: float) -> ResultT:
    """Call again while another connection has the lock. Raises `Locked` where it has it until the deadline."""
    time, pause_seconds = asyncio.get_running_loop().time, LOCK_PAUSE_SECONDS_FIRST
    while True:
        try:
            return await call()
        except Locked:
            if time() + pause_seconds > deadline:
                raise
        await asyncio.sleep(pause_seconds)
        pause_seconds = min(2 * pause_seconds, LOCK_PAUSE_SECONDS_MAX)


def _prepare_audit(path: Path, connection: sqlite3.Connection) -> None:
    with translate_errors(path.name):
        create_triggers(connection)


def _bind(sql: str, values: Sequence[Any]) -> Sequence[Any] | Mapping[str, Any]:
    """Return the values as Python's driver takes them: for it `?1` has the name `1`."""
    return {str(number): value for number, value in enumerate(values, 1)} if "?1" in sql else values


def _write_and_commit(
    sql: str, values: Sequence[Any], origin: Origin, lease: Lease | None, connection: sqlite3.Connection
) -> int:
    connection.execute("BEGIN IMMEDIATE")
    try:
        row_count = connection.execute(sql, _bind(sql, values)).rowcount
        _commit(origin, lease, (), connection)
    except BaseException:
        roll_back(connection)
        raise
    return row_count


def _commit(
    origin: Origin, lease: Lease | None, noted_changes: Sequence[Change], connection: sqlite3.Connection
) -> None:
    if lease is not None:
        _check_fence(lease, connection)
    record_changes(connection, origin, noted_changes)
    connection.execute("COMMIT")


def _check_fence(lease: Lease, connection: sqlite3.Connection) -> None:
    check_fence(lease, connection.execute(SELECT_FENCE, (lease.name,)).fetchone())


def _read_version(connection: sqlite3.Connection) -> Version:
    return int(connection.execute("PRAGMA data_version").fetchone()[0])
