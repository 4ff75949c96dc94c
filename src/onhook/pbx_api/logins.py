"""Failed logins: after five in a row wrong credentials are answered as blocked (yeastar-p-series.md 6).

Counted by address and client id, so that a mistyped secret of one app is not counted for another behind the same proxy.
"""

from collections import OrderedDict
from typing import Protocol

from onhook.appdb.api_clients import CREDENTIAL_CHARACTERS_MAX
from onhook.appdb.failed_logins import FailedLogins, FailureCounter, FailurePolicy, LoginKey

FAILURES_MAX = 5

COUNTS_MAX = 10_000
"""Counted addresses and client ids; the oldest count is removed first."""

EXPIRY_MICROSECONDS = 3_600_000_000
"""Failures older than an hour do not count, because people mistype now and then."""

POLICY = FailurePolicy(kind="app", window_us=EXPIRY_MICROSECONDS, rows_max=COUNTS_MAX, is_since_last=True)

ClientKey = tuple[str, str]
"""Address and client id."""


class LoginFailures(Protocol):
    """Failed logins in a row, by address and client id."""

    async def record_failure(self, key: ClientKey, now_us: int) -> bool:
        """Count a failure. Return whether the limit is reached; that resets the count."""
        ...

    async def record_success(self, key: ClientKey) -> None:
        """Reset the count."""
        ...


class MemoryLoginFailures:
    """See the contract, `LoginFailures`: those of a simulated PBX."""

    def __init__(self) -> None:
        self._counts: OrderedDict[ClientKey, tuple[int, int]] = OrderedDict()

    async def record_failure(self, key: ClientKey, now_us: int) -> bool:
        count, last_failed_at = self._counts.pop(key, (0, now_us))
        count = 1 if now_us - last_failed_at >= EXPIRY_MICROSECONDS else count + 1
        if count >= FAILURES_MAX:
            return True
        self._counts[key] = count, now_us
        while len(self._counts) > COUNTS_MAX:
            self._counts.popitem(last=False)
        return False

    async def record_success(self, key: ClientKey) -> None:
        self._counts.pop(key, None)


class SharedLoginFailures:
    """See the contract, `LoginFailures`: counted in the application database, for all hubs."""

    def __init__(self, failed_logins: FailedLogins) -> None:
        self._counter = FailureCounter(failed_logins, POLICY)

    async def record_failure(self, key: ClientKey, now_us: int) -> bool:
        login_key = _login_key(key)
        count = await self._counter.record_failure(login_key, now_us)
        if count.failures < FAILURES_MAX:
            return False
        await self._counter.reset(login_key)
        return True

    async def record_success(self, key: ClientKey) -> None:
        await self._counter.reset(_login_key(key))


def _login_key(key: ClientKey) -> LoginKey:
    address, client_id = key
    return client_id[:CREDENTIAL_CHARACTERS_MAX], address
