"""Wrong tokens per address.

A token is 32 random bytes and cannot be guessed. So a valid one is always accepted, also from an address that others
misuse (behind a proxy all share one); a wrong one is answered 429 past the limit, so that a program in a loop waits.
"""

from collections import OrderedDict

FAILURES_MAX = 10
"""Wrong tokens per address and window: a person's mistakes, not a program's."""

WINDOW_MICROSECONDS = 60_000_000

ADDRESSES_MAX = 1_000
"""Addresses with counts; the oldest is removed first."""


class FailedLogins:
    """Recent wrong tokens, by address."""

    def __init__(self) -> None:
        self._failures_by_address: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def record_failure(self, address: str, now_us: int) -> None:
        """Count one wrong token; `now_us` in microseconds since 1970."""
        window_start, count = self._failures_by_address.pop(address, (now_us, 0))
        if now_us - window_start >= WINDOW_MICROSECONDS:
            window_start, count = now_us, 0
        self._failures_by_address[address] = (window_start, count + 1)
        while len(self._failures_by_address) > ADDRESSES_MAX:
            self._failures_by_address.popitem(last=False)

    def seconds_to_wait(self, address: str, now_us: int) -> int:
        """Return how long this address should wait before the next try; 0 without a wait."""
        window_start, count = self._failures_by_address.get(address, (now_us, 0))
        remaining_us = window_start + WINDOW_MICROSECONDS - now_us
        return -(-remaining_us // 1_000_000) if count > FAILURES_MAX and remaining_us > 0 else 0
