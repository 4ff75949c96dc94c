"""Two hubs with one application database: each notification is sent by one of them; after a death a few dozen are sent
twice at most, and a hub that was overtaken commits nothing.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from onhook.appdb import leases
from onhook.appdb.appdb import AppDb
from onhook.appdb.leases import LeaseHolder
from onhook.config import Config
from onhook.delivery import dispatcher, worker
from onhook.delivery.commit_batch import UNCOMMITTED_MAX
from onhook.delivery.destinations.opening import destination_opener
from onhook.delivery.dispatcher import DeliveryDispatcher
from onhook.delivery.record_reader import RecordReader
from onhook.delivery.worker import DeliveryDeps
from tests.delivery.harness import DeliveryHarness, WebhookReceiver, make_calls, open_delivery_harness
from tests.waiting import wait_until

CALLS = 600


class MovedClock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now_us = 1_800_000_000_000_000

    def microseconds(self) -> int:
        return self.now_us

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.microseconds() / 1e6, UTC)


class Hub:
    """A dispatcher with an application database of its own, and the leases of its process."""

    def __init__(self, harness: DeliveryHarness, clock: MovedClock) -> None:
        self.appdb = AppDb(harness.directory / "onhook.db")
        self.leases = LeaseHolder(self.appdb.leases, clock)
        deps = DeliveryDeps(
            record_reader=RecordReader(harness.store, harness.position_notifier),
            appdb=self.appdb,
            clock=clock,
            run_leased=self.leases.run_leased,
        )
        self.dispatcher = DeliveryDispatcher(
            deps=deps,
            open_destination=destination_opener(Config()),
            on_error=lambda _id, _name, _error: None,
            on_issue=lambda _issue, _has_begun: None,
        )
        self.tasks: list[asyncio.Task[None]] = []

    def is_serving(self) -> bool:
        """Return whether it has the lease of the destination."""
        return bool(self.leases._fences)

    def start(self) -> None:
        self.tasks = [asyncio.create_task(run()) for run in (self.leases.run, self.dispatcher.run)]

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        if self.tasks:
            await asyncio.wait(self.tasks)
        await self.appdb.close()

    async def die(self) -> None:
        """End as a process does that is killed: nothing is committed or released any more."""
        await self.appdb.close()
        await self.stop()


@asynccontextmanager
async def open_hubs(harness: DeliveryHarness, clock: MovedClock) -> AsyncIterator[tuple[Hub, Hub]]:
    hubs = Hub(harness, clock), Hub(harness, clock)
    try:
        yield hubs
    finally:
        for hub in hubs:
            await hub.stop()


@pytest.fixture
async def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[DeliveryHarness]:
    monkeypatch.setattr(leases, "ACQUIRE_SECONDS", 0.01)
    monkeypatch.setattr(dispatcher, "POLL_SECONDS", 0.01)
    async with open_delivery_harness(tmp_path) as opened:
        yield opened


async def test_one_of_two_hubs_serves_a_destination(
    harness: DeliveryHarness, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the other one goes on at once, without repeating anything, when the first one stops."""
    monkeypatch.setattr(worker, "CLOSE_SECONDS_MAX", 30.0)  # on a loaded machine too
    await harness.add_destination("crm", receiver.url)
    async with open_hubs(harness, MovedClock()) as (first, second):
        first.start()
        await wait_until(first.is_serving)
        second.start()
        call_ids = await harness.put_calls(*make_calls(CALLS))
        await wait_until(lambda: len(receiver.accepted) > CALLS // 4)
        assert not second.is_serving()
        await first.stop()
        await wait_until(lambda: len(receiver.accepted) >= CALLS)
        assert second.is_serving()
        assert sorted(receiver.accepted_call_ids()) == sorted(call_ids)


async def test_notifications_of_a_hub_that_dies_are_sent_by_the_other_one(
    harness: DeliveryHarness, receiver: WebhookReceiver
) -> None:
    """Within ten seconds; what it had not committed is sent twice: a few dozen."""
    await harness.add_destination("crm", receiver.url)
    clock = MovedClock()
    async with open_hubs(harness, clock) as (first, second):
        first.start()
        await wait_until(first.is_serving)
        second.start()
        call_ids = await harness.put_calls(*make_calls(CALLS))
        await wait_until(lambda: len(receiver.accepted) > CALLS // 4)
        await first.die()
        assert not second.is_serving()
        clock.now_us += 10_000_000
        await wait_until(lambda: set(receiver.accepted_call_ids()) == set(call_ids))
        assert second.is_serving()
        assert len(receiver.accepted) - CALLS <= UNCOMMITTED_MAX


async def test_hub_that_is_overtaken_commits_nothing(harness: DeliveryHarness) -> None:
    """Its lease ran out while an attempt was in progress: the other hub sends it too, and its commit is the one."""
    is_slow, answered = True, asyncio.Event()

    async def answer(_request: web.Request, _body: bytes) -> int:
        if is_slow:
            await answered.wait()
        return 200

    async with WebhookReceiver(answer).listen() as receiver:
        await harness.add_destination("crm", receiver.url)
        clock = MovedClock()
        async with open_hubs(harness, clock) as (first, second):
            first.start()
            await wait_until(first.is_serving)
            await harness.put_calls(*make_calls(1))
            await wait_until(lambda: len(receiver.payloads) == 1)
            is_slow = False
            clock.now_us += 10_000_000
            second.start()
            await wait_until(lambda: len(receiver.accepted) == 1)
            await wait_until(second.is_serving)
            answered.set()
            await wait_until(lambda: len(receiver.accepted) == 2)
            await first.leases.renew()
            await wait_until(lambda: not first.is_serving())
            await second.stop()
            (destination,) = await harness.appdb.destinations.all()
            assert (await harness.cursor("crm"), destination.attempts_succeeded) == (harness.position, 1)


async def test_notifications_behind_a_slow_one_are_not_sent_twice_after_a_death(harness: DeliveryHarness) -> None:
    """Hundreds were accepted after one that is still being answered."""
    slow_id, deaths = "", 0

    async def answer(_request: web.Request, body: bytes) -> int:
        if deaths < 2 and slow_id and slow_id.encode() in body:
            await asyncio.Event().wait()
        return 200

    async with WebhookReceiver(answer).listen() as receiver:
        await harness.add_destination("crm", receiver.url)
        clock = MovedClock()
        calls = list(make_calls(400))
        slow_id = calls[0].call_id
        call_ids = await harness.put_calls(*calls)
        for _death in range(2):
            async with open_hubs(harness, clock) as (hub, _idle):
                hub.start()
                await wait_until(lambda: set(receiver.accepted_call_ids()) == set(call_ids) - {slow_id})
                await hub.die()
            deaths += 1
            clock.now_us += 10_000_000
        async with open_hubs(harness, clock) as (hub, _idle):
            hub.start()
            await wait_until(lambda: set(receiver.accepted_call_ids()) == set(call_ids))
        assert len(receiver.accepted) - len(calls) <= UNCOMMITTED_MAX
