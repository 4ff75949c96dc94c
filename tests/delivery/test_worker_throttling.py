"""A destination whose endpoint requests a delay."""

import time

import pytest
from aiohttp import web

from onhook.lib.clock import SystemClock
from tests.delivery.harness import DeliveryHarness, WebhookReceiver, WorkerCycles, make_calls
from tests.waiting import polls, wait_until


@pytest.mark.parametrize("header", ["3600", "Fri, 01 Jan 2038 00:00:00 GMT"])
async def test_worker_throttled_attempt_is_no_failure(
    harness: DeliveryHarness, receiver: WebhookReceiver, worker_cycles: WorkerCycles, header: str
) -> None:
    """After 429 there is no request before the time that was asked for, and no event has failed."""

    async def reply(_: web.Request, __: bytes) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": header})

    receiver.reply = reply
    await harness.add_destination("crm", receiver.url)
    harness.start()
    await harness.put_calls(*make_calls(1))
    await wait_until(lambda: len(receiver.payloads) == 1)
    await worker_cycles.complete()
    await harness.put_calls(*make_calls(1))
    await worker_cycles.complete()
    assert len(receiver.payloads) == 1
    assert await harness.rows("crm") == []


async def test_worker_throttled_notification_is_sent_after_the_time_asked_for(
    harness: DeliveryHarness, receiver: WebhookReceiver
) -> None:
    request_times: list[float] = []

    async def reply(_: web.Request, __: bytes) -> web.StreamResponse | int:
        request_times.append(time.monotonic())
        return web.Response(status=429, headers={"Retry-After": "1"}) if len(request_times) == 1 else 200

    receiver.reply = reply
    await harness.add_destination("crm", receiver.url)
    harness.start()
    await harness.put_calls(*make_calls(1))
    await wait_until(lambda: len(receiver.accepted) == 1)
    assert len(request_times) == 2
    assert request_times[1] - request_times[0] >= 1.0


@pytest.mark.usefixtures("short_delays")
async def test_worker_event_always_throttled_does_not_delay_others(
    harness: DeliveryHarness, receiver: WebhookReceiver
) -> None:
    """After some times it counts as failed, and becomes a row."""

    async def reply(_: web.Request, body: bytes) -> web.StreamResponse | int:
        return web.Response(status=429, headers={"Retry-After": "0"}) if b"6400" in body else 200

    receiver.reply = reply
    await harness.add_destination("crm", receiver.url, retry_policy="original", max_attempts=1)
    harness.start()
    await harness.put_calls(*make_calls(1, call_to="6400"), *make_calls(3))
    await wait_until(
        len(receiver.accepted) == 3 and len(await harness.rows("crm", "failed")) == 1 async for _ in polls()
    )


async def test_worker_retry_after_survives_a_restart(
    harness: DeliveryHarness, receiver: WebhookReceiver, worker_cycles: WorkerCycles
) -> None:
    """There is no request before; a retry by an operator is immediate."""

    async def reply(_: web.Request, __: bytes) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "3600"})

    receiver.reply = reply
    await harness.add_destination("crm", receiver.url)
    harness.start()
    await harness.put_calls(*make_calls(1))
    await wait_until((await harness.appdb.destinations.get("crm")).retry_after is not None async for _ in polls())
    await harness.stop()
    receiver.reply = None
    harness.start()
    revision = (await harness.appdb.destinations.change("crm", {"headers": {"X-Key": "1"}})).revision
    await wait_until(lambda: worker_cycles.revision == revision)
    await worker_cycles.complete()
    assert len(receiver.payloads) == 1
    await harness.appdb.deliveries.retry_all(1, now_us=SystemClock().microseconds())
    await wait_until(lambda: len(receiver.accepted) == 1)
