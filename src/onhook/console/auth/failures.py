"""How often an address came with a wrong token.

A token is 32 random bytes: nobody guesses it. So a right one is always let in, also from an address that others misuse
(behind a proxy all share one); a wrong one is answered 429 past the limit, so that a program in a loop learns to wait.
"""

from collections import OrderedDict

FAILURES_MAX = 10
"""Wrong tokens per address and window: a person's mistakes, not a program's."""

WINDOW_MICROSECONDS = 60_000_000

ADDRESSES_MAX = 1_000
"""Remembered at once; the one that failed longest ago is forgotten first."""


class FailedLogins:
    """Wrong tokens of late, by address."""

    def __init__(self) -> None:
        self._failures_by_address: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def record_failure(self, address: str, now_us: int) -> None:
        """Count one wrong token; `at` in microseconds since 1970."""
        window_start, count = self._failures_by_address.pop(address, (now_us, 0))
        if now_us - window_start >= WINDOW_MICROSECONDS:
            window_start, count = now_us, 0
        self._failures_by_address[address] = (window_start, count + 1)
        while len(self._failures_by_address) > ADDRESSES_MAX:
            self._failures_by_address.popitem(last=False)

    def seconds_to_wait(self, address: str, now_us: int) -> int:
        """How long this address should wait before the next try; 0 when it need not."""
        window_start, count = self._failures_by_address.get(address, (now_us, 0))
        remaining_us = window_start + WINDOW_MICROSECONDS - now_us
        return -(-remaining_us // 1_000_000) if count > FAILURES_MAX and remaining_us > 0 else 0
