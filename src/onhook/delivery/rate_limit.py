"""Rate limit of one destination, as a bucket of tokens. Pure: the time is passed in, in seconds of the event loop.

Invariants: within any period no more notifications are sent than its seconds times the rate, and one burst. A limit of
0 is none.
"""

from math import inf

BURST_SECONDS = 0.1
"""Notifications of this time may be sent at once: a wake-up per notification would cost more than sending it."""


class RateLimit:
    """Counts notifications against a number per second."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._burst = max(1.0, per_second * BURST_SECONDS)
        self._tokens = self._burst
        self._counted_at: float | None = None

    def available(self, now: float) -> float:
        """Return how many notifications may be sent now; infinite without a limit."""
        if not self._per_second:
            return inf
        self._refill(now)
        return int(self._tokens)

    def count(self, notifications: int) -> None:
        """Count notifications that are sent now."""
        self._tokens -= notifications

    def wait_seconds(self, now: float) -> float:
        """Return the wait until a burst may be sent: 0 where a notification may be sent now."""
        return 0.0 if self.available(now) >= 1 else (self._burst - self._tokens) / self._per_second

    def _refill(self, now: float) -> None:
        elapsed_seconds = 0.0 if self._counted_at is None else max(0.0, now - self._counted_at)
        self._tokens = min(self._burst, self._tokens + elapsed_seconds * self._per_second)
        self._counted_at = now
