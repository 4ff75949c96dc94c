"""Waits between failed attempts: doubled each time up to a maximum, with jitter so that many waiters
do not coincide.
"""

import msgspec

_DOUBLINGS_MAX = 30
"""2**30 times the shortest wait exceeds any maximum; a larger exponent would only overflow."""


def delay_seconds(failures: int, *, first: float, maximum: float, jitter: float = 1.0) -> float:
    """Return how long to wait after `failures` failed attempts in a row.

    The first failure waits `first` seconds. `jitter` is between 0 and 1: at 0 the wait is half as long, at 1 full
    length.

    >>> [delay_seconds(failures, first=1.0, maximum=60.0) for failures in (1, 2, 3, 9)]
    [1.0, 2.0, 4.0, 60.0]
    >>> delay_seconds(2, first=1.0, maximum=60.0, jitter=0.0)
    1.0
    """
    return min(maximum, first * 2.0 ** min(max(failures, 1) - 1, _DOUBLINGS_MAX)) * (0.5 + jitter / 2)


class Backoff(msgspec.Struct, kw_only=True):
    """The waits of one task that is restarted again and again. A long run resets the wait to the shortest."""

    first: float
    maximum: float
    steady_seconds: float
    """A run of at least this length counts as a success, however it ended."""
    failures: int = 0

    def after_run(self, ran_seconds: float, jitter: float = 1.0) -> float:
        """Return how long to wait before the next run; `ran_seconds` is the duration of the last run.

        >>> backoff = Backoff(first=1.0, maximum=60.0, steady_seconds=30.0)
        >>> [backoff.after_run(ran_seconds) for ran_seconds in (0.1, 0.1, 0.1, 31.0, 0.1)]
        [1.0, 2.0, 4.0, 1.0, 2.0]
        """
        self.failures = 1 if ran_seconds >= self.steady_seconds else self.failures + 1
        return delay_seconds(self.failures, first=self.first, maximum=self.maximum, jitter=jitter)
