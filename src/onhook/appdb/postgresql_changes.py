"""Changes of the application database on PostgreSQL: a connection that listens, and the number of commits.

Each commit that others wait for counts up `commit_count`, and notifies in the same transaction: a notification is never
lost while there is a connection, and where there is none, `version` opens one.
"""

import asyncio
from collections.abc import Awaitable, Callable

from onhook.appdb.contract import Version
from onhook.appdb.postgresql_connection import Connection, close_connection, translate_errors
from onhook.appdb.session import SharedVersion, Slots, deadline_error
from onhook.lib.paced_event import PacedEvent, wait_for_event
from onhook.lib.ticks import seconds_until_tick

CHANNEL = "onhook_commits"

ANNOUNCE = f"UPDATE commit_count SET commits = commits + 1; NOTIFY {CHANNEL}"
"""Run before the commit of a writer, which no other one runs beside."""

CHANGE_INTERVAL_SECONDS = 0.1
"""Time between two notifications of changes: many commits soon after one another are read together."""

LOOK_SECONDS = 5.0
"""Time between two looks without a notification: a server that is gone does not close its connections."""


class ChangeListener:
    """The connection that listens, for one event loop; opened when it is first needed, and again when it is lost."""

    def __init__(self, connect: Callable[[float], Awaitable[Connection]], location: str, *, waiting_max: int) -> None:
        self._connect = connect
        self._location = location
        self._slots = Slots(1, waiting_max=waiting_max, location=location)
        self._event = PacedEvent(interval_seconds=CHANGE_INTERVAL_SECONDS)
        self._connection: Connection | None = None
        self._version = SharedVersion(self._read_version, self._slots)

    def prepare(self) -> asyncio.Event:
        """Return an event that is set by the next notification, if `version` is read after it."""
        return self._event.current()

    async def version(self, deadline: float) -> Version:
        """Return the number of commits. Raises `Unavailable`."""
        return await self._version.get(deadline)

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        """Wait for an event, at most so long and not beyond the next look."""
        await wait_for_event(event, min(seconds, seconds_until_tick(asyncio.get_running_loop().time(), LOOK_SECONDS)))

    async def close(self, deadline: float) -> None:
        """Wake all that wait, and close the connection."""
        self._event.close()
        await self._slots.acquire_all(deadline)
        if self._connection is not None:
            self._connection.remove_termination_listener(self._wake)
            await close_connection(self._connection, max(deadline - asyncio.get_running_loop().time(), 0.1))
            self._connection = None

    async def _read_version(self, deadline: float) -> Version:
        try:
            async with asyncio.timeout_at(deadline):
                connection = await self._open(deadline)
                with translate_errors(self._location):
                    return int(await connection.fetchval("SELECT commits FROM commit_count"))
        except TimeoutError:
            # The next call opens another one: this one may have no server any longer.
            if self._connection is not None:
                self._connection.terminate()
            raise deadline_error(self._location) from None

    async def _open(self, deadline: float) -> Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = None
            connection = await self._connect(deadline)
            connection.add_termination_listener(self._wake)
            try:
                with translate_errors(self._location):
                    await connection.add_listener(CHANNEL, self._wake)
            except BaseException:
                connection.terminate()
                raise
            self._connection = connection
        return self._connection

    def _wake(self, *_notification: object) -> None:
        self._event.set()
