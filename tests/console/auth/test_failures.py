"""Waits after wrong passwords."""

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest

from onhook.console.auth import failures
from onhook.console.auth.failures import (
    DELAY_SECONDS_MAX,
    DELAYED_MAX,
    FAILURES_MAX,
    FORGOTTEN_MICROSECONDS,
    WAITING_OF_ADDRESS_MAX,
    WAITING_OF_NAME_MAX,
    PasswordTries,
    TriesOfName,
)
from onhook.lib.clock import SystemClock
from onhook.lib.errors import Unavailable


def test_password_delay_grows_with_each_failure_up_to_a_limit() -> None:
    tries, delays = TriesOfName(), []
    for _ in range(FAILURES_MAX + 6):
        delays.append(tries.delay_seconds(0))
        tries.record_failure(0)
    assert delays == [0.0] * FAILURES_MAX + [1.0, 2.0, 4.0] + [DELAY_SECONDS_MAX] * 3


def test_password_delay_ends_after_a_success_or_a_quarter_of_an_hour() -> None:
    tries = TriesOfName()
    for _ in range(FAILURES_MAX):
        tries.record_failure(0)
    assert tries.delay_seconds(FORGOTTEN_MICROSECONDS - 1) == 1.0
    assert tries.delay_seconds(FORGOTTEN_MICROSECONDS) == 0.0
    for _ in range(FAILURES_MAX):
        tries.record_failure(0)
    tries.record_success()
    assert tries.delay_seconds(0) == 0.0


async def test_password_tries_are_counted_by_name_and_address() -> None:
    clock = SystemClock()
    password_tries = PasswordTries(clock)
    async with password_tries.turn("Alice", "192.0.2.7") as tries:
        tries.record_failure(clock.microseconds())
    for name, address, count in (("alice", "192.0.2.7", 1), ("Alice", "192.0.2.8", 0), ("Bob", "192.0.2.7", 0)):
        async with password_tries.turn(name, address) as tries:
            assert tries.failures == count


async def test_password_tries_of_one_name_and_address_are_checked_in_turn() -> None:
    """Sending many at once evades no wait; more than a few are rejected."""
    password_tries, running = PasswordTries(SystemClock()), 0

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


async def test_password_tries_of_other_addresses_keep_no_user_from_signing_in() -> None:
    """Whether one address sends or many: a first try needs no place among those that wait after failures."""
    password_tries, clock = PasswordTries(SystemClock()), SystemClock()

    async def fail(name: str, address: str) -> None:
        async with password_tries.turn(name, address) as tries:
            tries.record_failure(clock.microseconds())

    addresses = ["192.0.2.7", *(f"198.51.100.{number}" for number in range(10))]
    attacks = [(f"name-{number}", address) for address in addresses for number in range(WAITING_OF_ADDRESS_MAX + 10)]
    for name, address in attacks:
        for _ in range(FAILURES_MAX):
            await fail(name, address)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_suppress_refusal(fail(name, address))) for name, address in attacks]
        await asyncio.sleep(0)
        assert sum(not task.done() for task in tasks) == DELAYED_MAX
        async with password_tries.turn("Alice", "203.0.113.9"):
            assert sum(not task.done() for task in tasks) == DELAYED_MAX
        with pytest.raises(Unavailable):
            await fail(*attacks[0])
        for task in tasks:
            task.cancel()


async def _suppress_refusal(password_try: Coroutine[Any, Any, None]) -> None:
    with suppress(Unavailable):
        await password_try


async def test_password_checks_of_one_address_leave_places_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "CHECK_SECONDS_MAX", 0.05)
    password_tries = PasswordTries(SystemClock())
    async with AsyncExitStack() as stack:
        for name in ("a", "b"):
            await stack.enter_async_context(password_tries.turn(name, "192.0.2.7"))
        with pytest.raises(Unavailable):
            await stack.enter_async_context(password_tries.turn("c", "192.0.2.7"))
        await stack.enter_async_context(password_tries.turn("Alice", "192.0.2.8"))
