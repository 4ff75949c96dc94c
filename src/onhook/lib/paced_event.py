"""An event that many tasks wait for, set at most once in a time: what comes earlier is one wake-up at the end of it."""

import asyncio
from contextlib import suppress


class PacedEvent:
    """For one event loop; `interval_seconds` of 0 sets it each time."""

    def __init__(self, *, interval_seconds: float = 0.0) -> None:
        self._interval_seconds = interval_seconds
        self._next_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._event = asyncio.Event()

    def current(self) -> asyncio.Event:
        """Return an event that is set the next time."""
        return self._event

    def set(self) -> None:
        """Wake all that wait, now or when the interval is over."""
        if not self._interval_seconds:
            self.set_now()
        elif self._timer is None:
            loop = asyncio.get_running_loop()
            if (now := loop.time()) >= self._next_at:
                self._next_at = now + self._interval_seconds
                self.set_now()
            else:
                self._timer = loop.call_at(self._next_at, self._set_late)

    def set_now(self) -> None:
        """Wake all that wait, without a pause."""
        # A task that takes the current one from now on waits for the next time.
        event, self._event = self._event, asyncio.Event()
        event.set()

    def close(self) -> None:
        """Wake all that wait, for the last time."""
        self.set_now()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_late(self) -> None:
        self._timer = None
        self._next_at = asyncio.get_running_loop().time() + self._interval_seconds
        self.set_now()


async def wait_for_event(event: asyncio.Event, timeout_seconds: float) -> None:
    """Wait for an event, at most so long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_seconds):
            await event.wait()
