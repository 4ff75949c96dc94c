"""Wrong tokens by address, and wrong passwords by name and address.

A token is 32 random bytes and cannot be guessed. So a valid one is always accepted, also from an address that others
misuse (behind a proxy all share one); a wrong one is answered 429 past the limit, so that a program in a loop waits.

A password can be guessed. After some wrong ones for a name from an address, each further try there waits, longer with
each failure, and is then checked: whatever others send from other addresses, a person is never locked out. Invariants:
tries of one name from one address are checked one after the other, so that sending many at once evades no wait; a try
without an earlier failure needs no place among those that wait.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from onhook.lib.clock import Clock
from onhook.lib.errors import Unavailable
from onhook.lib.messages import _
from onhook.lib.proxies import owner_network

FAILURES_MAX = 10
"""Failures without consequence: a person's mistakes, not a program's."""

WINDOW_MICROSECONDS = 60_000_000

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

DELAYED_MAX = 200
"""Tries of all that wait after failures; each holds a connection."""

CHECK_SECONDS_MAX = 15.0
"""Longest wait for a check."""


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


class TooManyTries(Unavailable):
    """Too many people are signing in. A database that is unavailable meanwhile is another error."""


class TriesOfName:
    """Tries of one name from one address."""

    def __init__(self) -> None:
        self.failures = 0
        self.last_failed_at = 0
        self.waiting = 0
        self.lock = asyncio.Lock()

    def delay_seconds(self, now_us: int) -> float:
        """Return how long the next try waits before it is checked."""
        if now_us - self.last_failed_at >= FORGOTTEN_MICROSECONDS:
            self.failures = 0
        if self.failures < FAILURES_MAX:
            return 0.0
        return float(min(DELAY_SECONDS_MAX, DELAY_SECONDS * 2 ** min(self.failures - FAILURES_MAX, 30)))

    def record_failure(self, now_us: int) -> None:
        """Count a wrong password."""
        self.failures += 1
        self.last_failed_at = now_us

    def record_success(self) -> None:
        """Begin anew after the right password."""
        self.failures = 0


class PasswordTries:
    """Tries of passwords: their waits and the number of concurrent checks."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tries: OrderedDict[tuple[str, str], TriesOfName] = OrderedDict()
        self._checks = asyncio.Semaphore(PASSWORD_CHECKS_MAX)
        self._address_checks: dict[str, asyncio.Semaphore] = {}
        self._waiting_by_address: dict[str, int] = {}
        self._delayed = 0

    @asynccontextmanager
    async def turn(self, name: str, address: str) -> AsyncIterator[TriesOfName]:
        """Wait for the turn of a try and hold it while the password is checked. Raises `TooManyTries` when too
        many are waiting.
        """
        owner = owner_network(address)
        tries = self._find_tries(name.casefold(), owner)
        is_delayed = bool(tries.waiting) or tries.delay_seconds(self._clock.microseconds()) > 0
        if (
            tries.waiting >= WAITING_OF_NAME_MAX
            or self._waiting_by_address.get(owner, 0) >= WAITING_OF_ADDRESS_MAX
            or (is_delayed and self._delayed >= DELAYED_MAX)
        ):
            raise _too_many_tries()
        tries.waiting += 1
        self._delayed += is_delayed
        try:
            with self._waiting_at(owner) as address_checks:
                async with tries.lock:
                    await asyncio.sleep(tries.delay_seconds(self._clock.microseconds()))
                    async with _place(address_checks), _place(self._checks):
                        yield tries
        finally:
            tries.waiting -= 1
            self._delayed -= is_delayed

    @contextmanager
    def _waiting_at(self, owner: str) -> Iterator[asyncio.Semaphore]:
        """Count a waiting try of an address; yield the concurrent checks of that address."""
        address_checks = self._address_checks.setdefault(owner, asyncio.Semaphore(CHECKS_OF_ADDRESS_MAX))
        self._waiting_by_address[owner] = self._waiting_by_address.get(owner, 0) + 1
        try:
            yield address_checks
        finally:
            self._waiting_by_address[owner] -= 1
            if not self._waiting_by_address[owner]:
                del self._waiting_by_address[owner], self._address_checks[owner]

    def _find_tries(self, name: str, owner: str) -> TriesOfName:
        tries = self._tries.pop((name, owner), None) or TriesOfName()
        self._tries[name, owner] = tries
        if len(self._tries) > PASSWORD_TRIES_MAX:
            oldest = next((key for key, candidate in self._tries.items() if not candidate.waiting), None)
            if oldest is not None and self._tries[oldest] is not tries:
                del self._tries[oldest]
        return tries


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
