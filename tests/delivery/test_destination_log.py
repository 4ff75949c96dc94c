"""The log of a destination as the worker writes it: every attempt with its headers and body, without secrets."""

import json
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from onhook.appdb.delivery_rows import HttpExchange
from onhook.appdb.destination_log import LogFilter, LoggedAttempt
from onhook.appdb.erasures import NumberRows
from onhook.delivery.dispatcher import send_test_by_name
from onhook.lib.clock import SystemClock
from tests.delivery.harness import SECRET, DeliveryHarness, WebhookReceiver, make_calls, open_delivery_harness
from tests.factories import call, record
from tests.waiting import polls, wait_until

KEY = "key-of-the-gateway"


async def read_log(harness: DeliveryHarness, count: int) -> list[LoggedAttempt]:
    """Return the log of the first destination once it has so many attempts."""

    async def read() -> list[LoggedAttempt]:
        return (await harness.appdb.destination_log.page(1, LogFilter(), 1_000)).data

    await wait_until(len(await read()) >= count async for _ in polls())
    return await read()


async def read_exchange(harness: DeliveryHarness, attempt: LoggedAttempt) -> HttpExchange:
    exchange = (await harness.appdb.destination_log.content(1, attempt.attempt_id)).exchange
    assert exchange is not None
    return exchange


async def test_log_has_each_attempt_with_headers_and_without_secrets(tmp_path: Path) -> None:
    """Also where the receiver repeats in its response what it got."""

    async def reply(request: web.Request, _body: bytes) -> web.StreamResponse:
        echo = f"{request.headers['X-Key']} {SECRET}"
        headers = {"X-Echo": echo, "Set-Cookie": "session=1"}
        status = 500 if len(receiver.bodies) == 1 else 201
        return web.Response(status=status, reason=f"not {SECRET}", text=echo, headers=headers)

    receiver = WebhookReceiver(reply)
    async with receiver.listen(), open_delivery_harness(tmp_path) as harness:
        await harness.add_destination(
            "crm", f"{receiver.url}?token=hush", headers={"X-Key": KEY}, with_standard_webhooks=True,
            retry_policy="original",
        )  # fmt: skip
        await harness.put_calls(*make_calls(1))
        harness.start()
        await wait_until(lambda: len(receiver.bodies) == 1)
        await harness.appdb.deliveries.retry_all(1, now_us=SystemClock().microseconds())
        accepted, rejected = await read_log(harness, 2)
        assert (rejected.state, rejected.status, accepted.state, accepted.status) == ("rejected", 500, "accepted", 201)
        assert (rejected.detail, accepted.detail) == ("HTTP 500 not …", "HTTP 201 not …")
        assert rejected.notification_id == accepted.notification_id
        content = await harness.appdb.destination_log.content(1, accepted.attempt_id)
        assert content.notification.encode() == receiver.bodies[1]
        exchange = await read_exchange(harness, accepted)
        assert (exchange.method, exchange.url) == ("POST", f"{receiver.url}?token=…")
        sent = receiver.headers[1]
        for name in ("Content-Type", "User-Agent", "X-Signature", "webhook-id", "webhook-timestamp"):
            assert exchange.request_headers[name] == sent[name]
        assert exchange.request_headers["X-Key"] == "…"
        assert (exchange.response_headers["X-Echo"], exchange.response_headers["Set-Cookie"]) == ("… …", "…")
        assert content.response == "… …"
        await harness.stop()
        stored_rows: list[Any] = await harness.appdb._database.rows("SELECT * FROM destination_log")
        for text in (KEY, SECRET, "hush"):
            assert text not in str(stored_rows)


async def test_log_of_a_masked_destination_has_no_number(tmp_path: Path) -> None:
    """It has what was sent; so do its filters, which know the call by its id alone."""
    async with WebhookReceiver().listen() as receiver, open_delivery_harness(tmp_path) as harness:
        await harness.add_destination("crm", receiver.url, mask="last3")
        number = "+4915794638271"
        await harness.put_calls(call(record(call_from=f"Erika<{number}>", call_to="1001", src_trunk_name="sip")))
        harness.start()
        await read_log(harness, 1)
        stored_rows = await harness.appdb._database.rows("SELECT * FROM destination_log")
        assert "94638271" not in str(stored_rows)
        assert "Erika" not in str(stored_rows)


async def test_log_of_an_unreachable_endpoint_has_the_request(tmp_path: Path) -> None:
    async with open_delivery_harness(tmp_path) as harness:
        await harness.add_destination("crm", "http://127.0.0.1:9/calls")
        await harness.put_calls(*make_calls(1))
        harness.start()
        (attempt, *_older_attempts) = await read_log(harness, 1)
        assert (attempt.state, attempt.status) == ("unreachable", None)
        exchange = await read_exchange(harness, attempt)
        assert (exchange.url, exchange.response_headers) == ("http://127.0.0.1:9/calls", {})


async def test_log_of_a_request_of_templates_has_its_body_without_the_secret(tmp_path: Path) -> None:
    """Whatever a template makes of it; the notification, from which the request is made, stays as it is."""
    async with WebhookReceiver().listen() as receiver, open_delivery_harness(tmp_path) as harness:
        fields = {
            "request_path": "/{{ secret }}?key={{ secret }}",
            "body": '{"to": "{{ call.call_to }}", "call_id": "{{ call.call_id }}", "key": "{{ secret|upper }}"}',
        }
        await harness.add_destination(
            "crm", receiver.url, kind="http", fields=fields, headers={"X-Key": "{{ secret }}"}
        )
        await harness.put_calls(*make_calls(1))
        harness.start()
        (attempt,) = await read_log(harness, 1)
        content = await harness.appdb.destination_log.content(1, attempt.attempt_id)
        exchange = await read_exchange(harness, attempt)
        assert exchange.url == f"{receiver.url}/SECRET?key=…"
        assert json.loads(exchange.body or "")["key"] == "SECRET"
        assert "call_from" in json.loads(content.notification)
        assert receiver.payloads[0]["key"] == SECRET.upper()
        stored_rows = await harness.appdb._database.rows("SELECT * FROM destination_log")
        assert SECRET not in str(stored_rows)
        assert SECRET.upper() not in str(stored_rows)


async def test_log_is_not_kept_where_its_days_are_0(tmp_path: Path) -> None:
    """Attempts are counted all the same."""
    async with WebhookReceiver().listen() as receiver, open_delivery_harness(tmp_path) as harness:
        await harness.add_destination("crm", receiver.url, log_days=0)
        await harness.put_calls(*make_calls(3))
        harness.start()
        await wait_until(lambda: len(receiver.bodies) == 3)
        await harness.stop()
        assert await harness.appdb.destination_log.list_for_call((receiver.payloads[0].get("sn", ""), "")) == []
        assert (await harness.appdb.destination_log.page(1, LogFilter(), 9)).data == []
        assert sum(count.accepted for count in await harness.appdb.destination_log.counts(1, 0)) == 3


async def test_resend_sends_the_notification_as_it_was(tmp_path: Path) -> None:
    """Though the destination has another payload format by now; the receiver recognises the repeat by its id."""
    async with WebhookReceiver().listen() as receiver, open_delivery_harness(tmp_path) as harness:
        await harness.add_destination("crm", receiver.url, with_standard_webhooks=True)
        await harness.put_calls(*make_calls(1))
        harness.start()
        (attempt,) = await read_log(harness, 1)
        await harness.appdb.destinations.change("crm", {"payload_format": "flat"})
        now_us = SystemClock().microseconds()
        delivery_id = await harness.appdb.destination_log.resend(1, attempt.attempt_id, now_us=now_us)
        await wait_until(lambda: len(receiver.bodies) == 2)
        assert receiver.bodies[0] == receiver.bodies[1]
        assert receiver.headers[0]["webhook-id"] == receiver.headers[1]["webhook-id"]
        assert len(await read_log(harness, 2)) == 2
        assert (await harness.appdb.deliveries.get(delivery_id)).state == "delivered"


async def test_log_of_an_endpoint_that_requests_delays_has_no_number_after_its_erasure(tmp_path: Path) -> None:
    """The notification was read before; the call is sent without the number when the endpoint accepts it."""
    status = 429

    async def reply(_request: web.Request, _body: bytes) -> web.StreamResponse:
        return web.Response(status=status, headers={"Retry-After": "1"} if status == 429 else {})

    async with WebhookReceiver(reply).listen() as receiver, open_delivery_harness(tmp_path) as harness:
        await harness.add_destination("crm", receiver.url)
        original = call(record(call_from="4915794638271", call_to="1001"))
        await harness.put_calls(original)
        harness.start()
        await read_log(harness, 1)
        key = (original.sn, original.call_id)
        legs = tuple(msgspec.structs.replace(leg, call_from="erased", seq=1) for leg in original.legs)
        await harness.erase(msgspec.structs.replace(original, call_from="erased", legs=legs))
        await harness.appdb.erasures.erase([key], NumberRows())
        status = 200
        await wait_until(lambda: bool(receiver.accepted))
        await harness.stop()
        await harness.appdb.erasures.delete_deliveries([key])
        assert receiver.accepted[0]["call_from"] == "erased"
        for table in ("destination_log", "deliveries"):
            assert "94638271" not in str(await harness.appdb._database.rows(f"SELECT * FROM {table}"))  # noqa: S608 - constants


async def test_test_and_sample_are_in_the_log(tmp_path: Path) -> None:
    """They belong to no call, and are no attempts of notifications."""
    async with WebhookReceiver().listen() as receiver, open_delivery_harness(tmp_path) as harness:
        await harness.add_destination("crm", receiver.url)
        for is_sample in (False, True):
            await send_test_by_name(
                harness.appdb, harness.open_destination, SystemClock(), "crm", is_sample=is_sample, log_days=30
            )
        sample, test = await read_log(harness, 2)
        assert [(attempt.is_test, attempt.state, attempt.call_id, attempt.seq) for attempt in (test, sample)] == [
            (True, "accepted", "", 0),
            (True, "accepted", "", 0),
        ]
        assert (await harness.appdb.destination_log.content(1, test.attempt_id)).notification == '{"event":"test"}'
        assert (await read_exchange(harness, sample)).request_headers["X-Onhook-Test"] == "true"
        assert await harness.appdb.destination_log.counts(1, 0) == []
