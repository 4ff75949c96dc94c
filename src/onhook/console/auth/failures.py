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
        self._seen: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def note(self, address: str, at: int) -> None:
        """Count one wrong token; `at` in microseconds since 1970."""
        window_start, count = self._seen.pop(address, (at, 0))
        if at - window_start >= WINDOW_MICROSECONDS:
            window_start, count = at, 0
        self._seen[address] = (window_start, count + 1)
        while len(self._seen) > ADDRESSES_MAX:
            self._seen.popitem(last=False)

    def seconds_to_wait(self, address: str, at: int) -> int:
        """How long this address should wait before the next try; 0 when it need not."""
        window_start, count = self._seen.get(address, (at, 0))
        remaining_us = window_start + WINDOW_MICROSECONDS - at
        return -(-remaining_us // 1_000_000) if count > FAILURES_MAX and remaining_us > 0 else 0
