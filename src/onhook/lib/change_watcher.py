"""Values derived from a versioned source, computed again only when the version has changed."""

import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from onhook.lib.errors import OnhookError
from onhook.lib.transition_log import TransitionLog

Version = int
"""Version of the application database: changes with every write by any process."""

Value = TypeVar("Value")


class ChangeWatcher(Generic[Value]):
    """Caches a value until the version changes. After an error while reading, the next call reads again."""

    def __init__(self, version: Callable[[], Awaitable[Version]], read: Callable[[], Awaitable[Value]]) -> None:
        self._version = version
        self._read = read
        self._last_version: Version | None = None
        self._values: list[Value] = []

    async def poll(self) -> Value | None:
        """Return the value if it may have changed since the last call, else None. Raises what reading raises."""
        # Before the data: a change in between is then read again, never missed.
        version = await self._version()
        if version == self._last_version:
            return None
        value = await self._read()
        self._last_version, self._values = version, [value]
        return value

    async def poll_or_log(self, failure_log: TransitionLog) -> Value | None:
        """Return what `poll` returns, or None if it raises `OnhookError`; log the begin and the end of the failure."""
        try:
            value = await self.poll()
        except OnhookError as error:
            failure_log.begin(error=str(error))
            return None
        failure_log.end()
        return value

    async def current(self) -> Value:
        """Return the value as of now. Raises what reading raises."""
        await self.poll()
        return self._values[0]


def appdb_failure_log(log: logging.Logger, *, consequence: str) -> TransitionLog:
    """Return the log of an application database that cannot be read; `consequence` says what is done meanwhile."""
    return TransitionLog(
        log,
        begins=f"cannot read the application database: {consequence}",
        ends="the application database can be read again",
    )
