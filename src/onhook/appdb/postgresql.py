"""The engine PostgreSQL: one connection that writes, a few that read, and one that listens for changes.

Among all processes and machines one transaction writes at a time, as in SQLite: it has an advisory lock until its end,
so nothing changes between its reads and its writes. The server ends a transaction that stands still longer than its
block may last, and one whose machine is gone, and frees the lock.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, TypeVar

from onhook.appdb.audited_tables import Change
from onhook.appdb.contract import CALL_SECONDS_MAX, TRANSACTION_SECONDS_MAX, Row, Statement, Version
from onhook.appdb.fence import SELECT_FENCE, check_fence, get_lease
from onhook.appdb.origin import get_origin
from onhook.appdb.postgresql_audit import discard_changes, record_changes
from onhook.appdb.postgresql_changes import ANNOUNCE, ChangeListener
from onhook.appdb.postgresql_connection import (
    Connection,
    close_connection,
    connect,
    describe_address,
    translate_errors,
    validate_address,
)
from onhook.appdb.postgresql_schema import LOCK_WRITER, is_prepared, overwrite_deleted, prepare, read_schema
from onhook.appdb.postgresql_session import PostgresqlSession, Work, count_changed, fetch_rows
from onhook.appdb.session import CurrentSession, Slots, deadline_error, limited_in_time
from onhook.lib.errors import Unavailable
from onhook.lib.messages import _, _n

READERS_MAX = 4
"""Connections that read: with those of the writer and the listener a process has six."""

QUEUE_MAX = 1_000
"""Calls that wait for a connection: each destination has one or two, each page a few."""

BEGIN_WRITE = f"BEGIN; {LOCK_WRITER}"
BEGIN_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

SELECT_TIME = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
SELECT_SERVER = "SELECT current_setting('server_version'), (SELECT count(*) FROM pg_stat_replication)"

ResultT = TypeVar("ResultT")


class PostgresqlDatabase:
    """See the contract, `appdb.contract.Database`. The first call connects; `url` may name several servers.

    `call_seconds` is the deadline of each call, `transaction_seconds` that of the block of a transaction.
    """

    def __init__(
        self,
        url: str,
        *,
        call_seconds: float = CALL_SECONDS_MAX,
        transaction_seconds: float = TRANSACTION_SECONDS_MAX,
    ) -> None:
        """Raises `UsageError` for an invalid address."""
        self._url = validate_address(url)
        self._location = describe_address(url)
        self._call_seconds = call_seconds
        self._transaction_seconds = transaction_seconds
        self._is_prepared = False
        self._is_closed = False
        self._idle_writers: list[Connection] = []
        self._idle_readers: list[Connection] = []
        self._write_slots = Slots(1, waiting_max=QUEUE_MAX, location=self._location)
        self._read_slots = Slots(READERS_MAX, waiting_max=QUEUE_MAX, location=self._location)
        self._session = CurrentSession[PostgresqlSession]()
        self._changes = ChangeListener(self._connect, self._location, waiting_max=QUEUE_MAX)
        self._rollbacks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        if not self._is_prepared:
            async with self._write_slots.acquired(self._deadline()):
                await self._prepare()

    # Statements

    async def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        return await self._read(lambda connection: fetch_rows(connection, sql, values))

    async def rows_many(self, sql: str, values_list: Sequence[Sequence[Any]]) -> list[list[Row]]:
        return await self.rows_each([(sql, values) for values in values_list])

    async def rows_each(self, statements: Sequence[Statement]) -> list[list[Row]]:
        async def fetch_all(connection: Connection) -> list[list[Row]]:
            return [await fetch_rows(connection, sql, values) for sql, values in statements]

        return await self._read(fetch_all) if statements else []

    async def write(
        self, sql: str, values: Sequence[Any] = (), *, seconds: float | None = None, is_awaited: bool = True
    ) -> int:
        deadline = self._deadline(seconds)
        outer = self._session.get()
        if outer is not None:
            return await outer.run(lambda connection: count_changed(connection, sql, values), deadline)
        async with self._write_session(deadline) as session:
            row_count = await session.run(lambda connection: count_changed(connection, sql, values), deadline)
            await session.run_to_end(partial(_commit, noted_changes=(), is_awaited=is_awaited), deadline)
        return row_count

    async def write_many(self, sql: str, values_list: Sequence[Sequence[Any]]) -> int:
        if not values_list:
            return 0

        async def write_all(connection: Connection) -> int:
            return sum([await count_changed(connection, sql, values) for values in values_list])

        async with self.transaction():
            return await self._session.require().run(write_all, self._deadline())

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
            if read_only:
                await session.run(lambda connection: connection.execute(BEGIN_READ), deadline)
            async with limited_in_time(self._transaction_seconds, self._location):
                with self._session.joining(session):
                    yield
            if session.error is not None:
                raise session.error
            if not read_only:
                commit = partial(_commit, noted_changes=session.noted_changes, is_awaited=is_awaited)
                await session.run_to_end(commit, self._deadline())

    def note_change(self, change: Change) -> None:
        self._session.require().noted_changes.append(change)

    async def discard_changes(self) -> None:
        await self._session.require().run(discard_changes, self._deadline())

    async def overwrite_deleted(self, seconds: float) -> None:
        deadline = self._deadline(seconds)
        await self.open()
        async with self._session_of(self._write_slots, self._idle_writers, deadline, is_read_only=False) as session:
            await session.run(overwrite_deleted, deadline)

    # Copies

    async def copy_rows(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        """Add rows to a table at once, inside a transaction."""
        await self._session.require().run(
            lambda connection: connection.copy_records_to_table(table, records=rows, columns=columns), self._deadline()
        )

    async def stream_rows(self, table: str, columns: Sequence[str], count: int) -> AsyncIterator[list[Row]]:
        """Yield all rows of a table, so many at a time, inside a transaction."""
        session = self._session.require()
        names = ", ".join(f'"{column}"' for column in columns)
        cursor = await session.run(
            lambda connection: connection.cursor(f"SELECT {names} FROM {table}"), self._deadline()
        )
        while rows := await session.run(lambda _connection: cursor.fetch(count), self._deadline()):
            yield [tuple(row) for row in rows]

    async def lease_time(self, now_us: int) -> int:
        return int((await self.rows(SELECT_TIME))[0][0])

    async def describe(self) -> str:
        ((version, standbys),) = await self.rows(SELECT_SERVER)
        return f"PostgreSQL {version}, " + _n("1 standby", "{count} standbys", standbys)

    async def schema_statements(self) -> list[str]:
        return await self._read(read_schema)

    # Change notification

    async def version(self) -> Version:
        self._check_is_open()
        await self.open()
        # Callers that run in this turn of the event loop can share what is read after it.
        await asyncio.sleep(0)
        return await self._changes.version(self._deadline())

    async def wait_for_change(self, version: Version, seconds: float) -> Version:
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            event = self._changes.prepare()
            current_version = await self.version()
            remaining_seconds = deadline - asyncio.get_running_loop().time()
            if current_version != version or remaining_seconds <= 0:
                return current_version
            await self._changes.wait(event, remaining_seconds)

    async def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        deadline = self._deadline()
        with suppress(Unavailable):
            await self._changes.close(deadline)
            # Calls in progress end first, also those of callers that gave up.
            await self._write_slots.acquire_all(deadline)
            await self._read_slots.acquire_all(deadline)
        connections = [*self._idle_writers, *self._idle_readers]
        self._idle_writers.clear()
        self._idle_readers.clear()
        for connection in connections:
            await close_connection(connection, self._call_seconds)

    # Sessions

    async def _read(self, work: Work[ResultT]) -> ResultT:
        deadline = self._deadline()
        outer = self._session.get()
        if outer is not None:
            return await outer.run(work, deadline)
        async with self._read_session(deadline) as session:
            return await session.run(work, deadline)

    @asynccontextmanager
    async def _read_session(self, deadline: float) -> AsyncIterator[PostgresqlSession]:
        self._check_is_open()
        await self.open()
        async with self._session_of(self._read_slots, self._idle_readers, deadline, is_read_only=True) as session:
            yield session

    @asynccontextmanager
    async def _write_session(self, deadline: float) -> AsyncIterator[PostgresqlSession]:
        """Yield a session with a transaction that has the lock of the writer."""
        self._check_is_open()
        await self.open()
        async with self._session_of(self._write_slots, self._idle_writers, deadline, is_read_only=False) as session:
            await session.run(lambda connection: connection.execute(BEGIN_WRITE), deadline)
            yield session

    @asynccontextmanager
    async def _session_of(
        self, slots: Slots, idle_connections: list[Connection], deadline: float, *, is_read_only: bool
    ) -> AsyncIterator[PostgresqlSession]:
        await slots.acquire(deadline)
        try:
            connection = await self._take(idle_connections, deadline)
        except BaseException:
            slots.release()
            raise

        def release(connection: Connection) -> None:
            if not connection.is_closed():
                idle_connections.append(connection)
            slots.release()

        session = PostgresqlSession(connection, self._location, is_read_only=is_read_only)
        try:
            yield session
        finally:
            if (rollback := session.end(release)) is not None:
                self._roll_back_behind(rollback)

    def _roll_back_behind(self, rollback: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(rollback)
        self._rollbacks.add(task)
        task.add_done_callback(self._rollbacks.discard)

    async def _take(self, idle_connections: list[Connection], deadline: float) -> Connection:
        while idle_connections:
            connection = idle_connections.pop()
            if not connection.is_closed():
                return connection
        return await self._connect(deadline)

    async def _connect(self, deadline: float) -> Connection:
        self._check_is_open()
        return await connect(
            self._url,
            call_seconds=self._call_seconds,
            transaction_seconds=self._transaction_seconds,
            timeout_seconds=max(deadline - asyncio.get_running_loop().time(), 0.001),
        )

    async def _prepare(self) -> None:
        """Check the server, and bring the schema up to date; the caller has the turn of the writer."""
        self._check_is_open()
        if self._is_prepared:
            return
        connection = await self._connect(self._deadline())
        try:
            async with asyncio.timeout_at(self._deadline()):
                with translate_errors(self._location):
                    is_current = await is_prepared(connection, self._location)
            if not is_current:
                with translate_errors(self._location):
                    await prepare(connection, self._location)
        except TimeoutError:
            connection.terminate()
            raise deadline_error(self._location) from None
        except BaseException:
            connection.terminate()
            raise
        self._idle_writers.append(connection)
        self._is_prepared = True

    def _check_is_open(self) -> None:
        if self._is_closed:
            raise Unavailable(_("the application database is closed"), location=self._location)

    def _deadline(self, seconds: float | None = None) -> float:
        return asyncio.get_running_loop().time() + (self._call_seconds if seconds is None else seconds)


async def _commit(connection: Connection, *, noted_changes: Sequence[Change], is_awaited: bool) -> None:
    lease = get_lease()
    if lease is not None:
        rows = await fetch_rows(connection, SELECT_FENCE, (lease.name,))
        check_fence(lease, rows[0] if rows else None)
    await record_changes(connection, get_origin(), noted_changes)
    await connection.execute(f"{ANNOUNCE}; COMMIT" if is_awaited else "COMMIT")
