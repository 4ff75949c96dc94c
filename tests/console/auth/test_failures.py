"""Waits after wrong passwords, and wrong tokens, at two hubs with one application database."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from onhook.appdb import failed_logins
from onhook.appdb.appdb import AppDb
from onhook.console.auth import failures
from onhook.console.auth.failures import (
    ADDRESSES_MAX,
    DELAY_SECONDS_MAX,
    DELAYED_MAX,
    FAILURES_MAX,
    FORGOTTEN_MICROSECONDS,
    PASSWORD_POLICY,
    WAITING_OF_ADDRESS_MAX,
    WAITING_OF_NAME_MAX,
    WINDOW_MICROSECONDS,
    PasswordTries,
    WrongTokens,
    delay_seconds,
)
from onhook.lib.clock import SystemClock
from onhook.lib.errors import Unavailable
from tests.waiting import polls, wait_until

KEY = ("alice", "192.0.2.7")
Hubs = tuple[AppDb, AppDb]


@pytest.fixture
async def hubs(tmp_path: Path) -> AsyncIterator[Hubs]:
    async with AsyncExitStack() as stack:
        first, second = [await stack.enter_async_context(AppDb(tmp_path / "onhook.db")) for _ in range(2)]
        yield first, second


@pytest.fixture
def password_tries(hubs: Hubs) -> PasswordTries:
    return PasswordTries(SystemClock(), hubs[0].failed_logins)


def test_password_delay_grows_with_each_failure_up_to_a_limit() -> None:
    delays = [delay_seconds(failures) for failures in range(FAILURES_MAX + 6)]
    assert delays == [0.0] * FAILURES_MAX + [1.0, 2.0, 4.0] + [DELAY_SECONDS_MAX] * 3


async def test_password_delay_ends_after_a_success_or_a_quarter_of_an_hour(hubs: Hubs) -> None:
    first, second = hubs

    async def delay(now_us: int) -> float:
        return delay_seconds((await second.failed_logins.get(PASSWORD_POLICY, KEY, now_us)).failures)

    await first.failed_logins.add(PASSWORD_POLICY, {KEY: FAILURES_MAX}, 0)
    assert await delay(FORGOTTEN_MICROSECONDS - 1) == 1.0
    assert await delay(FORGOTTEN_MICROSECONDS) == 0.0
    password_tries = PasswordTries(SystemClock(), second.failed_logins)
    async with password_tries.turn(*KEY) as password_try:
        await password_try.record_success()
    assert await delay(0) == 0.0


async def test_password_tries_are_counted_by_name_and_address(password_tries: PasswordTries, hubs: Hubs) -> None:
    """At the other hub too, and before the check: a client that goes away has used its try."""
    async with password_tries.turn("Alice", "192.0.2.7"):
        pass
    other_hub = PasswordTries(SystemClock(), hubs[1].failed_logins)
    for name, address, count in (("alice", "192.0.2.7", 1), ("Alice", "192.0.2.8", 0), ("Bob", "192.0.2.7", 0)):
        async with other_hub.turn(name, address) as password_try:
            assert password_try.failures == count


async def test_password_tries_at_two_hubs_wait_for_each_other(hubs: Hubs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hubs check no more guesses than one."""
    monkeypatch.setattr(failures, "DELAY_SECONDS_MAX", 0.3)
    monkeypatch.setattr(failures, "DELAY_SECONDS", 0.3)
    clock, loop = SystemClock(), asyncio.get_running_loop()
    await hubs[0].failed_logins.add(PASSWORD_POLICY, {KEY: FAILURES_MAX}, clock.microseconds())
    checked_at: list[float] = []

    async def check(password_tries: PasswordTries) -> None:
        async with password_tries.turn(*KEY):
            checked_at.append(loop.time())

    both = [PasswordTries(clock, appdb.failed_logins) for appdb in hubs]
    began_at = loop.time()
    await asyncio.gather(*(check(password_tries) for password_tries in both * 2))
    assert len(checked_at) == 4
    times = [began_at, *sorted(checked_at)]
    assert min(after - before for before, after in pairwise(times)) > 0.25


async def test_password_try_is_not_checked_while_the_database_is_locked(
    password_tries: PasswordTries, hubs: Hubs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could not be counted. Places are free afterwards."""
    monkeypatch.setattr(hubs[0]._database, "_call_seconds", 0.05)
    async with hubs[1].transaction():
        for _ in range(WAITING_OF_NAME_MAX + 1):
            with pytest.raises(Unavailable, match="application database"):
                async with password_tries.turn(*KEY):
                    pytest.fail("it was not counted")
    async with password_tries.turn(*KEY) as password_try:
        assert password_try.failures == 0


async def test_password_tries_of_one_name_and_address_are_checked_in_turn(password_tries: PasswordTries) -> None:
    """Sending many at once evades no wait; more than a few are rejected."""
    running = 0

    async def check() -> None:
        nonlocal running
        async with password_tries.turn("Alice", "192.0.2.7"):
            running += 1
            assert running == 1
            await asyncio.sleep(0.01)
            running -= 1

    results = await asyncio.gather(*(check() for _ in range(WAITING_OF_NAME_MAX + 3)), return_exceptions=True)
    assert results[:WAITING_OF_NAME_MAX] == [None] * WAITING_OF_NAME_MAX
    assert all(isinstance(result, Unavailable) for result in results[WAITING_OF_NAME_MAX:])


async def test_password_tries_of_other_addresses_keep_no_user_from_signing_in(
    password_tries: PasswordTries, hubs: Hubs
) -> None:
    """Whether one address sends or many: a first try needs no place among those that wait after failures."""

    async def fail(name: str, address: str) -> None:
        async with password_tries.turn(name, address):
            pass

    addresses = ["192.0.2.7", *(f"198.51.100.{number}" for number in range(10))]
    attacks = [(f"name-{number}", address) for address in addresses for number in range(WAITING_OF_ADDRESS_MAX + 10)]
    now_us = SystemClock().microseconds()
    await hubs[1].failed_logins.add(PASSWORD_POLICY, dict.fromkeys(attacks, FAILURES_MAX + 3), now_us)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_suppress_refusal(fail(name, address))) for name, address in attacks]
        await wait_until(lambda: sum(not task.done() for task in tasks) == DELAYED_MAX)
        async with password_tries.turn("Alice", "203.0.113.9"):
            assert sum(not task.done() for task in tasks) == DELAYED_MAX
        with pytest.raises(Unavailable):
            await fail(*attacks[0])
        for task in tasks:
            task.cancel()


async def _suppress_refusal(password_try: Coroutine[Any, Any, None]) -> None:
    with suppress(Unavailable):
        await password_try


async def test_password_checks_of_one_address_leave_places_for_others(
    password_tries: PasswordTries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "CHECK_SECONDS_MAX", 0.05)
    async with AsyncExitStack() as stack:
        for name in ("a", "b"):
            await stack.enter_async_context(password_tries.turn(name, "192.0.2.7"))
        with pytest.raises(Unavailable):
            await stack.enter_async_context(password_tries.turn("c", "192.0.2.7"))
        await stack.enter_async_context(password_tries.turn("Alice", "192.0.2.8"))


async def test_throttle_address_waits_until_its_minute_ends(hubs: Hubs, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the other hub too. Other addresses do not wait."""
    monkeypatch.setattr(failed_logins, "WRITE_PAUSE_SECONDS", 0.0)
    wrong_tokens, other_hub = [WrongTokens(appdb.failed_logins) for appdb in hubs]
    for _ in range(FAILURES_MAX):
        await wrong_tokens.record("10.0.0.1", now_us=0)
    assert wrong_tokens.seconds_to_wait("10.0.0.1", now_us=0) == 0
    await other_hub.record("10.0.0.1", now_us=1)
    await wrong_tokens.record("10.0.0.1", now_us=1)
    for hub in (wrong_tokens, other_hub):
        assert hub.seconds_to_wait("10.0.0.1", now_us=WINDOW_MICROSECONDS // 2) == 30
        assert hub.seconds_to_wait("10.0.0.2", now_us=1) == 0
        assert hub.seconds_to_wait("10.0.0.1", now_us=WINDOW_MICROSECONDS) == 0
    await wrong_tokens.record("10.0.0.1", now_us=WINDOW_MICROSECONDS)
    assert wrong_tokens.seconds_to_wait("10.0.0.1", now_us=WINDOW_MICROSECONDS) == 0


async def test_throttle_rejected_requests_write_nothing(hubs: Hubs) -> None:
    wrong_tokens = WrongTokens(hubs[0].failed_logins)
    for _ in range(FAILURES_MAX + 1):
        await wrong_tokens.record("10.0.0.1", now_us=0)
    sql = "SELECT failures FROM failed_logins"
    await wait_until(await hubs[1]._database.rows(sql) == [(FAILURES_MAX + 1,)] async for _ in polls())
    version = await hubs[1].version()
    for _ in range(10):
        await wrong_tokens.record("10.0.0.1", now_us=1)
    assert wrong_tokens.seconds_to_wait("10.0.0.1", now_us=1) == 60
    assert await hubs[1].version() == version


async def test_throttle_addresses_are_bounded(hubs: Hubs) -> None:
    wrong_tokens = WrongTokens(hubs[0].failed_logins)
    addresses = [f"10.0.{n // 256}.{n % 256}" for n in range(ADDRESSES_MAX + 500)]
    await asyncio.gather(*(wrong_tokens.record(address, now_us=n) for n, address in enumerate(addresses)))
    assert len(wrong_tokens._counter._counts) == ADDRESSES_MAX
    sql = "SELECT count(*) FROM failed_logins"
    await wait_until(await hubs[1]._database.rows(sql) == [(ADDRESSES_MAX,)] async for _ in polls())
