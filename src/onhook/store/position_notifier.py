"""Who waits for the next call: woken when the projector has put something into the store.

Laws: the feed keeps no calls, only how far the store has come; so a slow reader costs nothing but its place.
It belongs to one event loop, the hub's.
"""

import asyncio


class PositionNotifier:
    """How far the store has come, and a way to wait until it has come further."""

    def __init__(self) -> None:
        self._position = 0
        self._change_event = asyncio.Event()
        self._is_closed = False

    @property
    def position(self) -> int:
        """The last position that was announced; 0 before the first."""
        return self._position

    @property
    def is_closed(self) -> bool:
        """Whether the house closes."""
        return self._is_closed

    def announce(self, position: int) -> None:
        """Tell that the store has come this far; called in the feed's own loop."""
        self._position = max(self._position, position)
        self._wake_waiters()

    def close(self) -> None:
        """Let everybody go who waits: the house closes."""
        self._is_closed = True
        self._wake_waiters()

    async def wait(self, after: int, timeout_seconds: float) -> bool:
        """Wait until the store is past `after`; False when it did not get there in time, or the feed was closed."""
        try:
            async with asyncio.timeout(timeout_seconds):
                while self._position <= after and not self._is_closed:
                    await self._change_event.wait()
        except TimeoutError:
            return False
        return self._position > after

    def _wake_waiters(self) -> None:
        self._change_event.set()
        self._change_event = asyncio.Event()
