"""Notification of readers that wait for the next call, whenever the projector has stored a batch.

Invariants: the notifier keeps no calls, only the position of the store, so a slow reader costs nothing but its own
position. It belongs to one event loop, that of the hub.
"""

import asyncio


class PositionNotifier:
    """The position of the store, and a way to wait until it grows."""

    def __init__(self) -> None:
        self._position = 0
        self._change_event = asyncio.Event()
        self._is_closed = False

    @property
    def position(self) -> int:
        """The last announced position; 0 before the first."""
        return self._position

    @property
    def is_closed(self) -> bool:
        """Whether shutdown has begun."""
        return self._is_closed

    def announce(self, position: int) -> None:
        """Announce a position of the store; call it in the notifier's own loop."""
        self._position = max(self._position, position)
        self._wake_waiters()

    def close(self) -> None:
        """Wake all waiting readers for shutdown."""
        self._is_closed = True
        self._wake_waiters()

    async def wait(self, after: int, timeout_seconds: float) -> bool:
        """Wait until the position is past `after`; return False on timeout or shutdown."""
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
