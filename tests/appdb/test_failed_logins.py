"""Counts of failed logins, which hold for two hubs with one application database and over a restart."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from msgspec import structs

from onhook.appdb import failed_logins
from onhook.appdb.appdb import AppDb
from onhook.appdb.failed_logins import FailureCount, FailureCounter, FailurePolicy
from tests.waiting import polls, wait_until

pytestmark = pytest.mark.usefixtures("each_engine")

KEY = ("alice", "192.0.2.7")
SINCE_FIRST = FailurePolicy(kind="first", window_us=100, rows_max=3, is_since_last=False)
SINCE_LAST = FailurePolicy(kind="last", window_us=100, rows_max=3, is_since_last=True)
Hubs = tuple[AppDb, AppDb]


@pytest.fixture
async def hubs(tmp_path: Path) -> AsyncIterator[Hubs]:
    async with AsyncExitStack() as stack:
        first, second = [await stack.enter_async_context(AppDb(tmp_path / "onhook.db")) for _ in range(2)]
        yield first, second


async def test_failures_of_two_hubs_are_added(hubs: Hubs) -> None:
    """Other names, networks and kinds are counted by themselves."""
    first, second = hubs
    await first.failed_logins.add(SINCE_LAST, {KEY: 2, ("alice", "192.0.2.8"): 1, ("bob", KEY[1]): 1}, 0)
    assert await second.failed_logins.add(SINCE_LAST, {KEY: 3}, 1) == {KEY: FailureCount(5, 1)}
    assert await first.failed_logins.get(SINCE_LAST, KEY, 1) == FailureCount(5, 1)
    assert await first.failed_logins.get(SINCE_FIRST, KEY, 1) == FailureCount(0, 1)


async def test_failures_end_after_their_time(hubs: Hubs) -> None:
    """Since the first one or since the last one."""
    first, second = hubs
    for policy in (SINCE_FIRST, SINCE_LAST):
        for now_us in (0, 60):
            await first.failed_logins.add(policy, {KEY: 1}, now_us)
    counts = [await second.failed_logins.get(policy, KEY, 100) for policy in (SINCE_FIRST, SINCE_LAST)]
    assert [count.failures for count in counts] == [0, 2]
    assert (await second.failed_logins.add(SINCE_FIRST, {KEY: 1}, 100))[KEY] == FailureCount(1, 100)
    await second.failed_logins.add(SINCE_LAST, {("bob", ""): 1}, 160)
    assert await count_rows(first) == 2


async def test_failures_rows_are_bounded_by_kind(hubs: Hubs) -> None:
    """The oldest are removed first."""
    first, second = hubs
    await second.failed_logins.add(SINCE_FIRST, {KEY: 1}, 0)
    for number in range(5):
        await first.failed_logins.add(SINCE_LAST, {(str(number), ""): 1}, number)
    counts = [(await second.failed_logins.get(SINCE_LAST, (str(number), ""), 5)).failures for number in range(5)]
    assert counts == [0, 0, 1, 1, 1]
    assert (await second.failed_logins.get(SINCE_FIRST, KEY, 0)).failures == 1


async def test_claim_spaces_tries_at_both_hubs(hubs: Hubs) -> None:
    """Each is counted before it is checked; many at once are claimed one after the other."""
    first, second = hubs

    async def claim(appdb: AppDb, now_us: int) -> float:
        return await appdb.failed_logins.claim(SINCE_LAST, KEY, now_us, lambda failures: 10e-6 if failures > 1 else 0.0)

    assert [await claim(first, 0), await claim(second, 0)] == [0.0, 0.0]
    assert await claim(first, 1) == pytest.approx(9e-6)
    waits = await asyncio.gather(*(claim(appdb, 10) for appdb in (first, second) * 3))
    assert sorted(waits) == pytest.approx([0.0, *[10e-6] * 5])
    await second.failed_logins.reset(SINCE_LAST, KEY)
    assert await claim(first, 11) == 0.0


async def test_counter_failures_of_two_hubs_are_added(hubs: Hubs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after a restart; a success at one of them begins anew."""
    monkeypatch.setattr(failed_logins, "WRITE_PAUSE_SECONDS", 0.0)
    first, second = [FailureCounter(appdb.failed_logins, SINCE_FIRST) for appdb in hubs]
    counts = [await counter.record_failure(KEY, 0) for counter in (first, second, first)]
    assert counts[-1] == FailureCount(3, 0)
    restarted = FailureCounter(hubs[0].failed_logins, SINCE_FIRST)
    assert await restarted.record_failure(KEY, 1) == FailureCount(4, 0)
    await second.reset(KEY)
    assert await restarted.record_failure(KEY, 2) == FailureCount(1, 2)


async def test_counter_many_failures_are_few_writes(hubs: Hubs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an attacker with many addresses, too: what arrives before the next write is written with it."""
    monkeypatch.setattr(failed_logins, "WRITE_PAUSE_SECONDS", 0.05)
    policy = FailurePolicy(kind="token", window_us=100, rows_max=1_000, is_since_last=False)
    counter, writes, add = FailureCounter(hubs[0].failed_logins, policy), [], hubs[0].failed_logins.add

    async def count_writes(*arguments: object) -> object:
        writes.append(arguments)
        return await add(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(hubs[0].failed_logins, "add", count_writes)
    counts = await asyncio.gather(*(counter.record_failure(("", str(number % 300)), 0) for number in range(900)))
    assert [count.failures for count in counts[-300:]] == [3] * 300
    other = hubs[1].failed_logins
    await wait_until((await other.get(policy, ("", "7"), 0)).failures == 3 async for _ in polls())
    await asyncio.sleep(0.2)
    assert len(writes) == 1


async def test_counter_failures_wait_for_no_write_of_others(hubs: Hubs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither while it pauses nor while the database is locked: they would delay other requests."""
    monkeypatch.setattr(failed_logins, "WRITE_PAUSE_SECONDS", 60.0)
    first, second = hubs
    counter = FailureCounter(first.failed_logins, SINCE_FIRST)
    async with asyncio.timeout(5):
        await counter.record_failure(KEY, 0)
        counts = [await counter.record_failure(KEY, 0) for _ in range(20)]
    assert counts[-1] == FailureCount(21, 0)
    assert (await second.failed_logins.get(SINCE_FIRST, KEY, 0)).failures == 1


async def test_counter_counts_while_the_database_is_locked(hubs: Hubs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost: what was counted meanwhile is added afterwards, unless its time has passed."""
    monkeypatch.setattr(failed_logins, "WRITE_SECONDS_MAX", 0.05)
    monkeypatch.setattr(failed_logins, "WRITE_PAUSE_SECONDS", 0.0)
    first, second = hubs
    counter = FailureCounter(first.failed_logins, SINCE_FIRST)
    await counter.record_failure(("old", ""), 0)
    await second.failed_logins.add(SINCE_FIRST, {KEY: 5}, 60)
    async with second.transaction():
        await counter.record_failure(("old", ""), 10)
        assert await counter.record_failure(KEY, 60) == FailureCount(1, 60)
        assert await counter.record_failure(KEY, 61) == FailureCount(2, 60)
    assert await counter.record_failure(KEY, 105) == FailureCount(8, 60)
    assert await count_rows(second) == 1
    assert await counter.record_failure(KEY, 106) == FailureCount(9, 60)


async def test_counter_writes_again_after_a_locked_database(hubs: Hubs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where no failure follows: a restart would forget them. Writes that fail make one retry."""
    monkeypatch.setattr(failed_logins, "WRITE_SECONDS_MAX", 0.05)
    monkeypatch.setattr(failed_logins, "WRITE_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(failed_logins, "RETRY_SECONDS", 0.05)
    first, second = hubs
    counter = FailureCounter(first.failed_logins, structs.replace(SINCE_FIRST, window_us=60_000_000))
    async with second.transaction():
        for _ in range(3):
            await counter.record_failure(KEY, 0)
        await asyncio.sleep(0.3)
        assert count_retries() == 1
    await wait_until(await count_rows(second) == 1 async for _ in polls())
    assert (await second.failed_logins.get(SINCE_FIRST, KEY, 0)).failures == 3
    await wait_until(lambda: count_retries() == 0)


def count_retries() -> int:
    return [task.get_name() for task in asyncio.all_tasks()].count("failed logins, again")


async def count_rows(appdb: AppDb) -> int:
    return int((await appdb._database.rows("SELECT count(*) FROM failed_logins"))[0][0])
