"""Failed logins: after five in a row wrong credentials are answered as blocked (yeastar-p-series.md 6).

Counted by address and client id, so that a mistyped secret of one app is not counted for another behind the same proxy.
"""

from collections import OrderedDict

FAILURES_MAX = 5

COUNTS_MAX = 10_000
"""Counted addresses and client ids; the oldest count is removed first."""

EXPIRY_MICROSECONDS = 3_600_000_000
"""Failures older than an hour do not count, because people mistype now and then."""


LoginKey = tuple[str, str]
"""Address and client id."""


class LoginFailures:
    """Failed logins in a row, by address and client id."""

    def __init__(self) -> None:
        self._counts: OrderedDict[LoginKey, tuple[int, int]] = OrderedDict()

    def record_failure(self, key: LoginKey, now_us: int) -> bool:
        """Count a failure. Return whether the limit is reached; that resets the count."""
        count, last_failed_at = self._counts.pop(key, (0, now_us))
        count = 1 if now_us - last_failed_at >= EXPIRY_MICROSECONDS else count + 1
        if count >= FAILURES_MAX:
            return True
        self._counts[key] = count, now_us
        while len(self._counts) > COUNTS_MAX:
            self._counts.popitem(last=False)
        return False

    def record_success(self, key: LoginKey) -> None:
        """Reset the count."""
        self._counts.pop(key, None)
