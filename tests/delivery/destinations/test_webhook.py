"""The webhook destination, against real servers: well-behaved ones, and others."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, get_args

import pytest
from aiohttp import web
from standardwebhooks.webhooks import Webhook as Reference

from onhook.appdb.destination_spec import DestinationSpec, PayloadFormat
from onhook.cdr.call_details import DETAIL_FIELDS
from onhook.delivery.destinations.contract import DeliveryResult, DestinationClient, Notification
from onhook.delivery.destinations.interim_responses import INTERIM_RESPONSES_MAX
from onhook.delivery.destinations.webhook import WebhookClient
from onhook.delivery.destinations.webhook_response import RESPONSE_BYTES_MAX
from onhook.delivery.ssrf_guard import SsrfGuard
from onhook.pbx.yeastar.payload import Yeastar
from tests.delivery.harness import WebhookReceiver
from tests.factories import record

PAYLOADS = Path(__file__).parents[2] / "payloads"
SECRET = "0123456789abcdefghijABCDEFGHIJ01"
WHSEC = "whsec_MDEyMzQ1Njc4OWFiY2RlZmdoaWpBQkNE"


def open_webhook(spec: DestinationSpec, secrets: Sequence[str] = ()) -> DestinationClient:
    return WebhookClient(spec, secrets, Yeastar(), SsrfGuard(spec.allow_private))


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    async with WebhookReceiver().listen() as listening:
        yield listening


async def _send(url: str, body: bytes = b"{}", secrets: Sequence[str] = (SECRET,), **settings: Any) -> DeliveryResult:
    values: dict[str, Any] = {"url": url, "allow_private": True, "timeout_seconds": 0.5} | settings
    sink = open_webhook(DestinationSpec(**values), secrets)
    try:
        return (await sink.send([Notification("abc-1", body, time.time_ns() // 1000)]))[0]
    finally:
        await sink.close()


async def test_webhook_signature_is_that_of_the_original(receiver: WebhookReceiver) -> None:
    """The vector of a real event and its documented rule."""
    body = (PAYLOADS / "p2026_inbound_voicemail.json").read_bytes()
    await _send(receiver.url, body)
    assert receiver.headers[0]["X-Signature"] == "8wvAMqwj/SABEixDNBjstuq07T+pQggRUErYBKVMpvc="
    assert receiver.bodies == [body]
    assert "webhook-id" not in receiver.headers[0]


async def test_webhook_standard_headers_are_sent_on_request(receiver: WebhookReceiver) -> None:
    """Beside the original's own signature."""
    await _send(receiver.url, b'{"a":1}', secrets=(WHSEC,), with_standard_webhooks=True)
    assert Reference(WHSEC).verify(receiver.bodies[0], receiver.headers[0]) == {"a": 1}
    assert receiver.headers[0]["webhook-id"] == "abc-1"
    assert "X-Signature" in receiver.headers[0]


async def test_webhook_oldest_secret_signs(receiver: WebhookReceiver) -> None:
    """A receiver that does not have the new secret yet can verify it."""
    await _send(receiver.url, secrets=(SECRET, "another secret"))
    await _send(receiver.url, secrets=(SECRET,))
    assert receiver.headers[0]["X-Signature"] == receiver.headers[1]["X-Signature"]


async def test_webhook_get_carries_the_event_in_its_body(receiver: WebhookReceiver) -> None:
    """Signed alike; additional headers are sent."""
    await _send(receiver.url, b'{"call_id":"1.1"}', method="GET", headers={"X-Key": "k"})
    assert receiver.bodies == [b'{"call_id":"1.1"}']
    assert receiver.headers[0]["X-Key"] == "k"


@pytest.mark.parametrize("profile", get_args(PayloadFormat))
async def test_webhook_every_payload_format_is_parsed_as_the_same_call(
    receiver: WebhookReceiver, profile: PayloadFormat
) -> None:
    original = record()
    sink = open_webhook(DestinationSpec(url=receiver.url, payload_format=profile))
    (read,) = Yeastar().parse(sink.format_payload(original))
    assert (read.call_id, read.call_to, read.talk_duration) == (
        original.call_id,
        original.call_to,
        original.talk_duration,
    )
    assert json.loads(sink.format_payload(original))["sn"] == original.sn
    await sink.close()


@pytest.mark.parametrize(
    ("status", "headers", "verdict", "wait"),
    [
        (200, {}, "accepted", None),
        (204, {}, "accepted", None),
        (299, {"Retry-After": "5"}, "accepted", None),
        (301, {"Location": "/"}, "rejected", None),
        (307, {"Location": "/"}, "rejected", None),
        (400, {}, "rejected", None),
        (401, {}, "rejected", None),
        (404, {}, "rejected", None),
        (410, {}, "gone", None),
        (429, {}, "throttled", 30.0),
        (429, {"Retry-After": "7"}, "throttled", 7.0),
        (503, {"Retry-After": "120"}, "throttled", 120.0),
        (503, {"Retry-After": "soon"}, "unreachable", None),
        (500, {}, "rejected", None),
    ],
)
async def test_webhook_status_decides_the_outcome(
    receiver: WebhookReceiver, status: int, headers: dict[str, str], verdict: str, wait: float | None
) -> None:
    """Any 2xx is success and nothing else; redirects are not followed; 429 throttles."""

    async def reply(_: web.Request, __: bytes) -> web.Response:
        return web.Response(status=status, headers=headers, text=None if status == 204 else "because")

    receiver.reply = reply
    answer = await _send(receiver.url)
    assert (answer.outcome, answer.status, answer.retry_after_seconds) == (verdict, status, wait)
    assert len(receiver.payloads) == 1
    assert answer.body == (b"" if status == 204 else b"because")


async def test_webhook_date_in_retry_after_is_parsed(receiver: WebhookReceiver) -> None:
    """As seconds from now; a past one means at once."""

    async def reply(_: web.Request, __: bytes) -> web.Response:
        return web.Response(status=503, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"})

    receiver.reply = reply
    answer = await _send(receiver.url)
    assert (answer.outcome, answer.retry_after_seconds) == ("throttled", 0.0)


async def test_webhook_endless_response_is_cut_off(receiver: WebhookReceiver) -> None:
    """After its first kibibyte, though the other side would send a gigabyte; a 200 is a success."""
    byte_count = 0

    async def reply(request: web.Request, _: bytes) -> web.StreamResponse:
        nonlocal byte_count
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            for _mebibyte in range(1024):
                await response.write(bytes(1024 * 1024))
                byte_count += 1
        return response

    receiver.reply = reply
    answer = await _send(receiver.url, timeout_seconds=5.0)
    assert (answer.outcome, len(answer.body)) == ("accepted", RESPONSE_BYTES_MAX)
    assert byte_count < 100


async def test_webhook_without_response_in_time_has_failed(receiver: WebhookReceiver) -> None:
    """The detail names the time-out."""

    async def reply(_: web.Request, __: bytes) -> int:
        await asyncio.sleep(5)
        return 200

    receiver.reply = reply
    answer = await _send(receiver.url, timeout_seconds=0.2)
    assert (answer.outcome, answer.detail) == ("unreachable", "no response within 0.2 seconds")


Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def _slow_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
    await writer.drain()
    await reader.read()


async def _silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def _reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.transport.abort()


async def _invalid(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"\x00\xff hello \r\n\r\n")


async def _endless_header(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 1_000_000 + b"\r\n\r\n")
    await writer.drain()


async def _interim(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    while not writer.transport.is_closing():
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 1_000)
        await writer.drain()


async def _early_hints(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n" * INTERIM_RESPONSES_MAX)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    await writer.drain()
    await reader.read()


@asynccontextmanager
async def _behaving(behaviour: Behaviour) -> AsyncIterator[int]:
    """Yield the port of a server with this behaviour; all of its connections are closed at the end."""
    connections: set[asyncio.Task[None]] = set()

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await behaviour(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.create_task(behave(reader, writer)))

    server = await asyncio.start_server(begin, "127.0.0.1", 0)
    async with server:
        yield int(server.sockets[0].getsockname()[1])
    if connections:
        await asyncio.wait(connections)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("behaviour", [_silent, _reset, _invalid, _endless_header, _interim])
async def test_webhook_misbehaving_server_is_a_failure(scheme: str, behaviour: Behaviour) -> None:
    """In words, in time, whatever the server sends, also instead of TLS."""
    async with _behaving(behaviour) as port:
        answer = await _send(f"{scheme}://127.0.0.1:{port}/?key=hush", timeout_seconds=0.4)
    assert (answer.outcome, answer.status) == ("unreachable", None)
    assert answer.detail
    assert "hush" not in answer.detail


async def test_webhook_endless_interim_responses_stop_no_other_task() -> None:
    """They are a failure at once, long before the time is over."""
    async with _behaving(_interim) as port:
        answer = await _send(f"http://127.0.0.1:{port}/", timeout_seconds=60)
    assert (answer.outcome, answer.detail) == ("unreachable", f"more than {INTERIM_RESPONSES_MAX} interim responses")


async def test_webhook_few_interim_responses_are_skipped() -> None:
    async with _behaving(_early_hints) as port:
        answer = await _send(f"http://127.0.0.1:{port}/", timeout_seconds=60)
    assert (answer.outcome, answer.status) == ("accepted", 200)


async def test_webhook_status_without_body_is_a_result() -> None:
    """200 is a success: the event is not sent again."""
    async with _behaving(_slow_body) as port:
        answer = await _send(f"http://127.0.0.1:{port}/", timeout_seconds=0.3)
    assert (answer.outcome, answer.status, answer.body) == ("accepted", 200, b"")


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:1/", "http://[::1]:1/", "http://127.1:1/", "http://2130706433:1/", "http://0x7f000001:1/",
        "http://[::ffff:127.0.0.1]:1/", "http://169.254.169.254/latest/meta-data", "http://0.0.0.0:1/",
    ],
)  # fmt: skip
async def test_webhook_private_address_in_any_notation_is_blocked(url: str) -> None:
    """By name or by number, before a connection is made."""
    answer = await _send(url, allow_private=False)
    assert answer.outcome == "unreachable"
    assert any(words in answer.detail for words in ("private address", "canonical", "Domain name not found"))


async def test_webhook_unknown_host_name_is_retried() -> None:
    """A name may exist again later."""
    answer = await _send("http://unknown.invalid/")
    assert (answer.outcome, answer.status) == ("unreachable", None)


def test_webhook_flat_payload_has_the_18_fields_alone() -> None:
    payload = json.loads(Yeastar().format(record(extra={"is_display": 1}), "SN1", "flat"))
    assert (payload.pop("sn"), payload.pop("event_type")) == ("SN1", 30012)
    assert set(payload) <= set(DETAIL_FIELDS)
    assert (payload["type"], payload["call_from"]) == (record().type, record().call_from)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_webhook_redirect_counts_as_accepted_where_the_destination_says_so(
    receiver: WebhookReceiver, status: int
) -> None:
    """It is not followed; the result names its host alone, because the rest of the URL may be a key."""

    async def reply(_: web.Request, __: bytes) -> web.Response:
        return web.Response(status=status, headers={"Location": "https://echo.example/macros?key=hush"})

    receiver.reply = reply
    refused, accepted = await _send(receiver.url), await _send(receiver.url, accept_redirects=True)
    assert (refused.outcome, accepted.outcome) == ("rejected", "accepted")
    assert (accepted.redirect_host, "a redirect to echo.example" in accepted.detail) == ("echo.example", True)
    assert "hush" not in f"{refused} {accepted}"
    assert len(receiver.payloads) == 2


async def test_webhook_redirect_without_a_host_is_to_the_same_one(receiver: WebhookReceiver) -> None:
    async def reply(_: web.Request, __: bytes) -> web.Response:
        return web.Response(status=302, headers={"Location": "/login"})

    receiver.reply = reply
    assert (await _send(receiver.url)).redirect_host == "127.0.0.1"


@pytest.mark.parametrize("status", [300, 304, 400, 500])
async def test_webhook_other_status_is_no_redirect(receiver: WebhookReceiver, status: int) -> None:
    async def reply(_: web.Request, __: bytes) -> web.Response:
        return web.Response(status=status)

    receiver.reply = reply
    assert (await _send(receiver.url, accept_redirects=True)).outcome == "rejected"
