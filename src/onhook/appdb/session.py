"""A connection in the hands of one task, and the turns for such connections, for every engine."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Generic, TypeVar

from onhook.appdb.audited_tables import Change
from onhook.appdb.contract import Version
from onhook.lib.errors import Unavailable
from onhook.lib.messages import _


class Slots:
    """So many turns at a time, in order of request; a bounded number of callers wait."""

    def __init__(self, count: int, *, waiting_max: int, location: str) -> None:
        self._count = count
        self._semaphore = asyncio.Semaphore(count)
        self._waiting_max = waiting_max
        self._waiting_count = 0
        self._location = location

    async def acquire(self, deadline: float) -> None:
        """Take a turn, by a time of the event loop's clock. Raises `Unavailable`."""
        if self._waiting_count >= self._waiting_max:
            raise self._busy_error()
        self._waiting_count += 1
        try:
            async with asyncio.timeout_at(deadline):
                await self._semaphore.acquire()
        except TimeoutError:
            raise self._busy_error() from None
        finally:
            self._waiting_count -= 1

    def release(self) -> None:
        """Give a turn back."""
        self._semaphore.release()

    @asynccontextmanager
    async def acquired(self, deadline: float) -> AsyncIterator[None]:
        """Have a turn inside the block. Raises `Unavailable`."""
        await self.acquire(deadline)
        try:
            yield
        finally:
            self.release()

    async def acquire_all(self, deadline: float) -> None:
        """Take all turns, for good. Raises `Unavailable`."""
        for _turn in range(self._count):
            await self.acquire(deadline)

    def _busy_error(self) -> Unavailable:
        return Unavailable(
            _("the application database is busy"),
            location=self._location,
            hint=_("try again; `onhook doctor` checks the disk"),
        )


class SharedVersion:
    """The version of a database: calls at the same time share one read that begins after them."""

    def __init__(self, read: Callable[[float], Awaitable[Version]], slots: Slots) -> None:
        self._read = read
        self._slots = slots
        self._last_version: Version = 0
        self._requested_count = self._answered_count = 0

    async def get(self, deadline: float) -> Version:
        """Return the current version. Raises `Unavailable`."""
        self._requested_count += 1
        request_number = self._requested_count
        async with self._slots.acquired(deadline):
            if self._answered_count < request_number:
                requested_count = self._requested_count
                self._last_version = await self._read(deadline)
                self._answered_count = requested_count
            return self._last_version


class TaskSession:
    """One task's use of a connection. `error` is what a statement or an inner block of its transaction raised where it
    must not be committed. `noted_changes` are for the audit log.
    """

    def __init__(self, *, is_read_only: bool) -> None:
        self.is_read_only = is_read_only
        self.task = asyncio.current_task()
        self.error: BaseException | None = None
        self.noted_changes: list[Change] = []

    @contextmanager
    def failing_with_block(self) -> Iterator[None]:
        """Keep what the block raises as `error`."""
        try:
            yield
        except BaseException as error:
            self.error = self.error or error
            raise


SessionT = TypeVar("SessionT", bound=TaskSession)


class CurrentSession(Generic[SessionT]):
    """The session of the transaction that each task is in."""

    def __init__(self) -> None:
        self._session: ContextVar[SessionT | None] = ContextVar("session", default=None)

    def get(self) -> SessionT | None:
        """Return the session of the transaction that the current task is in. A task started inside one is not in it."""
        session = self._session.get()
        return session if session is not None and session.task is asyncio.current_task() else None

    def require(self) -> SessionT:
        """Return the session of the transaction that the current task is in, where it is in one by its contract."""
        session = self.get()
        assert session is not None, "this is called inside a transaction"
        return session

    @contextmanager
    def joining(self, session: SessionT) -> Iterator[None]:
        """Run the block inside the transaction of a session."""
        token = self._session.set(session)
        try:
            yield
        finally:
            self._session.reset(token)


@asynccontextmanager
async def limited_in_time(seconds: float, location: str) -> AsyncIterator[None]:
    """End the block of a transaction at its deadline. Raises `Unavailable`."""
    timeout = asyncio.timeout(seconds)
    try:
        async with timeout:
            yield
    except TimeoutError:
        if not timeout.expired():
            raise
        raise deadline_error(location) from None


def deadline_error(location: str) -> Unavailable:
    """Return the error of a call or a transaction that did not end by its deadline."""
    return Unavailable(
        _("the application database did not answer in time"),
        location=location,
        hint=_("try again; `onhook doctor` checks the disk"),
    )
