"""Runs SQL of users: a bounded number of query processes at a time, on a recent copy of the store.

Invariants: this process never parses a user's text, and holds no more of a result than its limit. A query that is given
up has no process a moment later.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from onhook.lib.clock import Clock
from onhook.lib.errors import Unavailable, UsageError
from onhook.lib.messages import _
from onhook.store.sql.child_processes import ProcessEnded, ask_process
from onhook.store.sql.contract import SQL_CHARACTERS_MAX, WALL_SECONDS_MAX, SqlResult
from onhook.store.sql.failures import ended_error, to_error, too_late_error
from onhook.store.sql.store_copy import StoreCopy
from onhook.store.sql.wire import SqlReply, SqlRequest

QUERY_MODULE = "onhook.store.sql.query_process"

QUERIES_MAX = 2
"""Query processes at the same time: with their limit of memory they stay below 1 GB together."""

WAITING_MAX = 8
"""Queries that wait for one of them to end."""

WAIT_SECONDS_MAX = 30.0
"""Time for which a query waits: for three others before it."""

START_SECONDS_MAX = 10.0
"""Time for the start of a process on a busy machine, in addition to that of the query."""


START_NICENESS = 5
"""Of the start of a process; the user's text then has the lowest priority (`query_process.NICENESS`)."""


class SqlProcessRunner:
    """See `store.contract.SqlRunner`. `directory` is for the copy, and for nothing else."""

    def __init__(self, store_file: Path, directory: Path, clock: Clock) -> None:
        self._copy = StoreCopy(store_file, directory, clock)
        self._slots = asyncio.Semaphore(QUERIES_MAX)
        self._waiting = 0
        self._tasks: set[asyncio.Task[SqlResult]] = set()
        self._is_closed = False

    async def open(self) -> None:
        """Remove what a crash left."""
        await self._copy.remove_all()

    async def run(self, sql: str) -> SqlResult:
        """See `store.contract.SqlRunner`."""
        _check_length(sql)
        if self._is_closed:
            raise Unavailable(_("the server is stopping"), location="sql", hint=_("try again in a moment"))
        # A task of its own: `close` ends it, whatever the caller waits for.
        task = asyncio.create_task(self._run(sql))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            return await task
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait([task])
            raise

    def forget_copy(self) -> None:
        """See `store.contract.SqlRunner`."""
        self._copy.forget()

    async def close(self) -> None:
        """See `store.contract.SqlRunner`."""
        self._is_closed = True
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._copy.close()

    async def _run(self, sql: str) -> SqlResult:
        async with self._slot(), self._copy.use() as copy:
            reply = await _ask(SqlRequest(path=str(copy.path), sql=sql))
        if reply.failure is not None:
            raise to_error(reply.failure, location="sql")
        return SqlResult(columns=reply.columns, rows=reply.rows, is_truncated=reply.is_truncated, data_at=copy.data_at)

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        """Hold one of the places for processes. Raises `Unavailable` where too many wait, or one waits too long."""
        if self._slots.locked() and self._waiting >= WAITING_MAX:
            raise _busy_error()
        self._waiting += 1
        try:
            async with asyncio.timeout(WAIT_SECONDS_MAX):
                await self._slots.acquire()
        except TimeoutError:
            raise _busy_error() from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._slots.release()


async def _ask(request: SqlRequest) -> SqlReply:
    try:
        seconds_max = WALL_SECONDS_MAX + START_SECONDS_MAX
        return await ask_process(QUERY_MODULE, request, seconds_max=seconds_max, niceness=START_NICENESS)
    except TimeoutError:
        raise too_late_error() from None
    except OSError as error:
        raise Unavailable(
            _("no query process can be started: {reason}", reason=error.strerror or error),
            location="sql",
            hint=_("try again in a moment"),
        ) from error
    except ProcessEnded as ended:
        log = logging.getLogger("sql")
        log.warning("query process ended", extra={"reason": ended.reason, "output": ended.error_text})
        raise ended_error(ended) from ended


def _check_length(sql: str) -> None:
    if not sql.strip() or len(sql) > SQL_CHARACTERS_MAX:
        raise UsageError(
            _("this is not a query"),
            location="sql",
            hint=_("write a SELECT of up to {limit} characters", limit=SQL_CHARACTERS_MAX),
        )


def _busy_error() -> Unavailable:
    return Unavailable(
        _("{running} queries are running and {waiting} are waiting", running=QUERIES_MAX, waiting=WAITING_MAX),
        location="sql",
        hint=_("try again in a moment"),
    )
