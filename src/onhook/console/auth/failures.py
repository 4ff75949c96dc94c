"""Wrong tokens and requests for links by address, and wrong passwords by name and address.

A token is 32 random bytes and cannot be guessed. So a valid one is always accepted, also from an address that others
misuse (behind a proxy all share one); a wrong one is answered 429 past the limit, so that a program in a loop waits. So
is a request for a link to choose another password, whatever name it has: a program fills no mailboxes.

A password can be guessed. After some wrong ones for a name from an address, each further try there waits, longer with
each failure, and is then checked: whatever others send from other addresses, a person is never locked out. Invariants:
tries of one name from one address are checked one after the other, so that sending many at once evades no wait, nor
sending to several hubs; a try without an earlier failure needs no place among those that wait; each checked try is
counted before its check, and what is rejected writes nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import ClassVar

from onhook.appdb.failed_logins import FailedLogins, FailureCounter, FailurePolicy, LoginKey
from onhook.lib.clock import Clock
from onhook.lib.errors import Unavailable
from onhook.lib.messages import _
from onhook.lib.proxies import owner_network

FAILURES_MAX = 10
"""Failures without consequence: a person's mistakes, not a program's."""

WINDOW_MICROSECONDS = 60_000_000

RESETS_MAX = 20
RESETS_WINDOW_MICROSECONDS = 3_600_000_000
"""Requests of one address for links to choose another password: those of an office after a holiday."""

ADDRESSES_MAX = 1_000
"""Addresses with counts; the oldest is removed first."""

DELAY_SECONDS = 1.0
"""Wait of the first try after the failures without consequence; doubled with each further failure."""

DELAY_SECONDS_MAX = 8.0
"""Seven guesses a minute; a person with the right password waits once."""

FORGOTTEN_MICROSECONDS = 900_000_000
"""A quarter of an hour after the last failure the tries begin anew."""

PASSWORD_TRIES_MAX = 10_000
"""Names and addresses with counts; the oldest without a waiting try is removed first."""

WAITING_OF_NAME_MAX = 4
"""Waiting tries of one name from one address: a person has one."""

CHECKS_OF_ADDRESS_MAX = 2
"""Concurrent checks for one address, of PASSWORD_CHECKS_MAX in all, so that no address keeps others from signing in."""

PASSWORD_CHECKS_MAX = 4
"""Concurrent password checks: each takes 32 MiB and a tenth of a second."""

WAITING_OF_ADDRESS_MAX = 40
"""Waiting tries of one address."""

CLAIMS_MAX = 3
"""Times that a try waits anew because the same name was tried from the same address at another hub."""

DELAYED_MAX = 200
"""Tries of all that wait after failures; each holds a connection."""

CHECK_SECONDS_MAX = 15.0
"""Longest wait for a check."""

RETRY_SECONDS = "5"
"""`Retry-After` of a try for which there is no place."""


TOKEN_POLICY = FailurePolicy(kind="token", window_us=WINDOW_MICROSECONDS, rows_max=ADDRESSES_MAX, is_since_last=False)
RESET_POLICY = FailurePolicy(
    kind="reset", window_us=RESETS_WINDOW_MICROSECONDS, rows_max=ADDRESSES_MAX, is_since_last=False
)
PASSWORD_POLICY = FailurePolicy(
    kind="password", window_us=FORGOTTEN_MICROSECONDS, rows_max=PASSWORD_TRIES_MAX, is_since_last=True
)


class AddressLimit:
    """Recent requests of one kind, by address, at all hubs: of each address `allowed_count` have no consequence."""

    policy: ClassVar[FailurePolicy]
    allowed_count: ClassVar[int]

    def __init__(self, failed_logins: FailedLogins) -> None:
        self._counter = FailureCounter(failed_logins, self.policy)

    async def record(self, address: str, now_us: int) -> None:
        """Count one request, up to the limit; `now_us` in microseconds since 1970."""
        if not self.seconds_to_wait(address, now_us):
            await self._counter.record_failure(_address_key(address), now_us)

    def seconds_to_wait(self, address: str, now_us: int) -> int:
        """Return how long this address should wait before the next request; 0 without a wait."""
        count = self._counter.count(_address_key(address), now_us)
        remaining_us = count.counted_at + self.policy.window_us - now_us
        return -(-remaining_us // 1_000_000) if count.failures > self.allowed_count and remaining_us > 0 else 0


class WrongTokens(AddressLimit):
    """Wrong tokens."""

    policy = TOKEN_POLICY
    allowed_count = FAILURES_MAX


class ResetRequests(AddressLimit):
    """Requests for links to choose another password."""

    policy = RESET_POLICY
    allowed_count = RESETS_MAX


def _address_key(address: str) -> LoginKey:
    return "", owner_network(address)


def delay_seconds(failures: int) -> float:
    """Return how long the next try of a name from an address waits before it is checked."""
    if failures < FAILURES_MAX:
        return 0.0
    return float(min(DELAY_SECONDS_MAX, DELAY_SECONDS * 2 ** min(failures - FAILURES_MAX, 30)))


class TooManyTries(Unavailable):
    """Too many people are signing in. A database that is unavailable meanwhile is another error."""

    http_status = 429


class PasswordTry:
    """A try that is checked now, and is counted as a failure until it succeeds. `failures` are those before it."""

    def __init__(self, failed_logins: FailedLogins, key: LoginKey, failures: int) -> None:
        self.failures = failures
        self._failed_logins = failed_logins
        self._key = key

    async def record_success(self) -> None:
        """Begin anew after the right password. Raises `Unavailable`."""
        await self._failed_logins.reset(PASSWORD_POLICY, self._key)


class _WaitingTries:
    """Tries of one name from one address that wait in this process."""

    def __init__(self) -> None:
        self.count = 0
        self.lock = asyncio.Lock()


class PasswordTries:
    """Tries of passwords: their waits, at all hubs, and the number of concurrent checks of this one."""

    def __init__(self, clock: Clock, failed_logins: FailedLogins) -> None:
        self._clock = clock
        self._failed_logins = failed_logins
        self._waiting: dict[LoginKey, _WaitingTries] = {}
        self._checks = asyncio.Semaphore(PASSWORD_CHECKS_MAX)
        self._address_checks: dict[str, asyncio.Semaphore] = {}
        self._waiting_by_address: dict[str, int] = {}
        self._delayed = 0

    @asynccontextmanager
    async def turn(self, name: str, address: str) -> AsyncIterator[PasswordTry]:
        """Wait for the turn of a try and hold it while the password is checked. Raises `TooManyTries` when too
        many are waiting, and `Unavailable` where the try cannot be counted: then it is not checked.
        """
        key = name.casefold(), owner_network(address)
        with self._waiting_of_name(key) as (lock, is_first), self._waiting_at(key[1]) as address_checks:
            failures = await self._count_failures(key)
            with self._delayed_place(is_delayed=not is_first or delay_seconds(failures) > 0):
                async with lock, self._checked_in_turn(key, address_checks) as password_try:
                    yield password_try

    @asynccontextmanager
    async def _checked_in_turn(self, key: LoginKey, address_checks: asyncio.Semaphore) -> AsyncIterator[PasswordTry]:
        """Wait as long as the failures demand it, and hold the places of a check."""
        failures = await self._count_failures(key)
        wait_seconds = delay_seconds(failures)
        for _claim in range(CLAIMS_MAX):
            await asyncio.sleep(wait_seconds)
            async with _place(address_checks), _place(self._checks):
                now_us = self._clock.microseconds()
                wait_seconds = await self._failed_logins.claim(PASSWORD_POLICY, key, now_us, delay_seconds)
                if not wait_seconds:
                    yield PasswordTry(self._failed_logins, key, failures)
                    return
        raise _too_many_tries()

    async def _count_failures(self, key: LoginKey) -> int:
        return (await self._failed_logins.get(PASSWORD_POLICY, key, self._clock.microseconds())).failures

    @contextmanager
    def _waiting_of_name(self, key: LoginKey) -> Iterator[tuple[asyncio.Lock, bool]]:
        """Count a waiting try of a name from an address; yield their lock, and whether no other one waits."""
        waiting = self._waiting.setdefault(key, _WaitingTries())
        if waiting.count >= WAITING_OF_NAME_MAX:
            raise _too_many_tries()
        waiting.count += 1
        try:
            yield waiting.lock, waiting.count == 1
        finally:
            waiting.count -= 1
            if not waiting.count:
                del self._waiting[key]

    @contextmanager
    def _waiting_at(self, owner: str) -> Iterator[asyncio.Semaphore]:
        """Count a waiting try of an address; yield the concurrent checks of that address."""
        if self._waiting_by_address.get(owner, 0) >= WAITING_OF_ADDRESS_MAX:
            raise _too_many_tries()
        address_checks = self._address_checks.setdefault(owner, asyncio.Semaphore(CHECKS_OF_ADDRESS_MAX))
        self._waiting_by_address[owner] = self._waiting_by_address.get(owner, 0) + 1
        try:
            yield address_checks
        finally:
            self._waiting_by_address[owner] -= 1
            if not self._waiting_by_address[owner]:
                del self._waiting_by_address[owner], self._address_checks[owner]

    @contextmanager
    def _delayed_place(self, *, is_delayed: bool) -> Iterator[None]:
        """Have one of the places of tries that wait; a try without an earlier failure needs none."""
        if is_delayed and self._delayed >= DELAYED_MAX:
            raise _too_many_tries()
        self._delayed += is_delayed
        try:
            yield
        finally:
            self._delayed -= is_delayed


@asynccontextmanager
async def _place(semaphore: asyncio.Semaphore) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(CHECK_SECONDS_MAX):
            await semaphore.acquire()
    except TimeoutError:
        raise _too_many_tries() from None
    try:
        yield
    finally:
        semaphore.release()


def _too_many_tries() -> TooManyTries:
    return TooManyTries(_("too many people are signing in"), hint=_("try again in a few seconds"))
