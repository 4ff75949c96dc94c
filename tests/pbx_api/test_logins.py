"""Counting of failed logins, by one process and by two hubs with one application database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from onhook.appdb import failed_logins
from onhook.appdb.appdb import AppDb
from onhook.pbx_api.logins import (
    COUNTS_MAX,
    EXPIRY_MICROSECONDS,
    LoginFailures,
    MemoryLoginFailures,
    SharedLoginFailures,
)


class TwoHubs:
    """Two hubs that fail in turn. See the contract, `LoginFailures`."""

    def __init__(self, *hubs: LoginFailures) -> None:
        self._hubs = list(hubs)

    async def record_failure(self, key: tuple[str, str], now_us: int) -> bool:
        self._hubs.reverse()
        return await self._hubs[0].record_failure(key, now_us)

    async def record_success(self, key: tuple[str, str]) -> None:
        await self._hubs[1].record_success(key)


@pytest.fixture(params=["memory", "two hubs"])
async def failures(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[LoginFailures]:
    monkeypatch.setattr(failed_logins, "WRITE_PAUSE_SECONDS", 0.0)
    if request.param == "memory":
        yield MemoryLoginFailures()
        return
    async with AsyncExitStack() as stack:
        appdbs = [await stack.enter_async_context(AppDb(tmp_path / "onhook.db")) for _ in range(2)]
        yield TwoHubs(*(SharedLoginFailures(appdb.failed_logins) for appdb in appdbs))


async def test_login_failures_five_in_a_row_are_too_many(failures: LoginFailures) -> None:
    """Not four, not four and one of another address or client id, not four and one of an hour later."""
    assert [await failures.record_failure(("a", "crm"), 0) for _ in range(4)] == [False] * 4
    assert not await failures.record_failure(("b", "crm"), 0)
    assert not await failures.record_failure(("a", "erp"), 0)
    assert not await failures.record_failure(("a", "crm"), EXPIRY_MICROSECONDS)
    later = [await failures.record_failure(("a", "crm"), EXPIRY_MICROSECONDS) for _ in range(4)]
    assert later == [*[False] * 3, True]


async def test_login_failures_begin_anew_after_a_success(failures: LoginFailures) -> None:
    for _ in range(2):
        assert [await failures.record_failure(("a", "crm"), 0) for _ in range(4)] == [False] * 4
        await failures.record_success(("a", "crm"))


async def test_login_failures_are_limited_in_number(failures: LoginFailures) -> None:
    """The oldest are forgotten."""
    for _ in range(4):
        await failures.record_failure(("early", "crm"), 0)
    await asyncio.gather(*(failures.record_failure((str(number), "crm"), 1) for number in range(COUNTS_MAX)))
    assert not await failures.record_failure(("early", "crm"), 1)
