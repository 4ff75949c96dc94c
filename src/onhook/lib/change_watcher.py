"""Values derived from a versioned source, computed again only when the version has changed."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Generic, Protocol, TypeVar

from onhook.lib.errors import OnhookError
from onhook.lib.transition_log import TransitionLog

Version = int
"""Version of the application database: changes with every write by any process."""

Value = TypeVar("Value")


class VersionSource(Protocol):
    """A versioned source, such as the application database."""

    async def version(self) -> Version:
        """Return the current version."""
        ...

    async def wait_for_change(self, version: Version, seconds: float) -> Version:
        """Wait until the version differs from this one, at most so long; return the current version."""
        ...


class ChangeWatcher(Generic[Value]):
    """Caches a value until the version changes. After an error while reading, the next call reads again."""

    def __init__(self, source: VersionSource, read: Callable[[], Awaitable[Value]]) -> None:
        self._source = source
        self._read = read
        self._last_version: Version | None = None
        self._has_failed = False
        self._values: list[Value] = []

    async def poll(self) -> Value | None:
        """Return the value if it may have changed since the last call, else None. Raises what reading raises."""
        self._has_failed = True
        # Before the data: a change in between is then read again, never missed.
        version = await self._source.version()
        value = None
        if version != self._last_version:
            value = await self._read()
            self._last_version, self._values = version, [value]
        self._has_failed = False
        return value

    async def wait(self, seconds_min: float, seconds_max: float) -> None:
        """Wait until the value may have changed since the last poll, at least and at most so long. After a poll that
        failed, wait no longer than `seconds_min`.
        """
        loop_time = asyncio.get_running_loop().time
        may_poll_at = loop_time() + seconds_min
        if not self._has_failed and self._last_version is not None:
            # Where the source cannot be read, the next poll reports it.
            with suppress(OnhookError):
                await self._source.wait_for_change(self._last_version, seconds_max)
        await asyncio.sleep(max(0.0, may_poll_at - loop_time()))

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
