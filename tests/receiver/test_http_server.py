"""The webhook server, over real sockets."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest

from onhook.config import Address
from onhook.lib.errors import UsageError
from onhook.lib.sockets import raise_open_files_limit
from onhook.receiver import http_connection, http_server
from tests.receiver.harness import (
    PAYLOADS,
    RAW_EVENT,
    RAW_EVENT_SIGNATURE,
    RESPONSE_SECONDS_MAX,
    SECRET,
    UNSIGNED_SN,
    ReceiverHarness,
    make_event_body,
    make_raw_event,
    make_request,
    open_receiver,
    send_raw,
    statuses,
)
from tests.waiting import wait_until

LARGE = b'{"sn":"3651XXXXXXXX","msg":"' + b"x" * 300 * 1024 + b'"}'
UNREADABLE = make_event_body(sn="3651XXXXXXXX", type=30012, msg="not a call")
CHUNKED = "".join(f"{len(part):x}\r\n{part}\r\n" for part in (RAW_EVENT[:100].decode(), RAW_EVENT[100:].decode(), ""))

# Request, status, counter, stored events.
ANSWERS = [
    pytest.param(make_request(RAW_EVENT), 200, "stored", 1, id="signed"),
    pytest.param(
        make_request(RAW_EVENT, X_Signature=f"  {RAW_EVENT_SIGNATURE}  "), 200, "stored", 1, id="documented vector"
    ),
    pytest.param(
        make_request(RAW_EVENT, "another-secret-of-the-same-PBX-0"), 200, "stored", 1, id="by the second secret"
    ),
    pytest.param(make_request(RAW_EVENT).replace(b"POST / ", b"POST /any/path?x=1 "), 200, "stored", 1, id="any path"),
    pytest.param(make_request(RAW_EVENT).replace(b"HTTP/1.1", b"HTTP/1.0"), 200, "stored", 1, id="HTTP/1.0"),
    pytest.param(make_request(make_raw_event(1, UNSIGNED_SN), None), 200, "stored", 1, id="declared unsigned"),
    pytest.param(
        make_request((PAYLOADS / "flat_internal_answered.json").read_bytes()), 200, "stored", 1, id="flat, no sn"
    ),
    pytest.param(make_request(UNREADABLE), 200, "unparsable", 1, id="unparsable msg"),
    pytest.param(make_request(b"\x00\xff invalid data"), 200, "unparsable", 1, id="signed invalid data"),
    pytest.param(make_request(b""), 200, "unparsable", 1, id="empty body, signed"),
    pytest.param(
        make_request(b'{"sn":"\\ud800\\u0000","type":30012}'), 401, "unknown_pbx", 0, id="surrogate and NUL in sn"
    ),
    pytest.param(
        make_request(make_event_body(sn="3651XXXXXXXX", type=30011, msg="{}")), 200, "other_event", 0, id="other event"
    ),
    pytest.param(
        make_request(make_event_body(type=30022, msg="{}")), 200, "other_event", 0, id="other event without sn"
    ),
    pytest.param(make_request(make_event_body(event="test")), 200, "test_message", 0, id="test"),
    pytest.param(make_request(make_event_body(event="test"), None), 401, "missing_signature", 0, id="test, unsigned"),
    pytest.param(make_request(RAW_EVENT, None), 401, "missing_signature", 0, id="no signature"),
    pytest.param(make_request(RAW_EVENT, "wrong"), 401, "invalid_signature", 0, id="wrong signature"),
    pytest.param(
        make_request(RAW_EVENT, None, X_Signature="é"), 401, "invalid_signature", 0, id="malformed signature"
    ),
    pytest.param(
        make_request(make_event_body(event="test"), "wrong"), 401, "invalid_signature", 0, id="wrong signature, no sn"
    ),
    pytest.param(make_request(make_raw_event(1, "UNKNOWN"), "wrong"), 401, "unknown_pbx", 0, id="unknown sn"),
    pytest.param(
        make_request(make_raw_event(1, "UNKNOWN")), 200, "unregistered", 1, id="unknown sn, secret of a registered PBX"
    ),
    pytest.param(make_request(b"", None), 400, "not_an_event", 0, id="empty body"),
    pytest.param(make_request(b"<xml/>", "wrong"), 400, "not_an_event", 0, id="no JSON"),
    pytest.param(make_request(LARGE), 413, "too_large", 0, id="300 KiB"),
    pytest.param(make_request(LARGE)[:200], 413, "too_large", 0, id="300 KiB, by its Content-Length"),
    pytest.param(make_request(RAW_EVENT).replace(b"POST", b"GET", 1), 200, "stored", 1, id="GET with a signed body"),
    pytest.param(
        make_request(RAW_EVENT, "wrong").replace(b"POST", b"GET", 1),
        401,
        "invalid_signature",
        0,
        id="GET, wrong signature",
    ),
    pytest.param(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", 405, "wrong_method", 0, id="GET without a body"),
    pytest.param(b"HEAD / HTTP/1.1\r\nConnection: close\r\n\r\n", 405, "wrong_method", 0, id="HEAD"),
    pytest.param(b"CONNECT a:1 HTTP/1.1\r\n\r\n", 405, "wrong_method", 0, id="CONNECT"),
    pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "bad_request", 0, id="TLS"),
    pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "bad_request", 0, id="HTTP/2"),
    pytest.param(b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400, "bad_request", 0, id="negative length"),
    pytest.param(
        make_request(RAW_EVENT, Transfer_Encoding="chunked"), 400, "bad_request", 0, id="length and chunks at once"
    ),
    pytest.param(make_request(RAW_EVENT, X_Filler="x" * 20_000), 431, "header_too_large", 0, id="long header"),
    pytest.param(
        make_request(RAW_EVENT, **{f"X_{n}": "x" for n in range(200)}), 431, "header_too_large", 0, id="many headers"
    ),
]  # fmt: skip


@pytest.mark.parametrize(("request_bytes", "status", "verdict_text", "event_count"), ANSWERS)
async def test_server_each_request_gets_its_documented_response(
    receiver: ReceiverHarness, request_bytes: bytes, status: int, verdict_text: str, event_count: int
) -> None:
    assert statuses(await receiver.send(request_bytes)) == [status]
    assert await receiver.count_raw_events() == event_count
    assert await receiver.count_verdicts() == {verdict_text: 1}


@pytest.mark.parametrize(
    ("request_bytes", "kind", "label", "peer"),
    [
        (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", "wrong_method", "", "127.0.0.1"),
        (b"GET / HTTP/1.1\r\nX-Signature: abc\r\nConnection: close\r\n\r\n", "wrong_method", "GET", "127.0.0.1"),
        (make_request(RAW_EVENT).replace(b"POST", b"PUT", 1), "wrong_method", "PUT", "127.0.0.1"),
        (make_request(RAW_EVENT).replace(b"POST", b"LINK", 1), "wrong_method", "another method", "127.0.0.1"),
        (make_request(RAW_EVENT, "wrong"), "invalid_signature", "", "127.0.0.1"),
        (make_request(RAW_EVENT, None), "missing_signature", "", "127.0.0.1"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "bad_request", "", "127.0.0.1"),
        (make_request(RAW_EVENT), "stored", "30012", ""),
    ],
)
async def test_server_counts_rejections_with_the_address_of_the_sender(
    receiver: ReceiverHarness, request_bytes: bytes, kind: str, label: str, peer: str
) -> None:
    """And of another method its name; of a page that a browser asks for it has none."""
    await receiver.send(request_bytes)
    await receiver.count_verdicts()
    (counter,) = await receiver.ledger.counters()
    assert (counter.kind, counter.label, counter.last_peer) == (kind, label, peer)


@pytest.mark.parametrize(("request_bytes", "status", "verdict_text", "event_count"), ANSWERS)
async def test_server_request_in_pieces_gets_the_same_response(
    receiver: ReceiverHarness, request_bytes: bytes, status: int, verdict_text: str, event_count: int
) -> None:
    cuts = [0, 1, 20, 61, 150, 211, len(request_bytes)]
    pieces = [request_bytes[start:end] for start, end in pairwise(cuts) if request_bytes[start:end]]
    assert statuses(await receiver.send(*pieces)) == [status]
    assert await receiver.count_raw_events() == event_count
    assert await receiver.count_verdicts() == {verdict_text: 1}


async def test_server_chunked_body_is_joined_before_verification(receiver: ReceiverHarness) -> None:
    """A trailer is not a header."""
    head = make_request(RAW_EVENT).replace(b"Content-Length: %d" % len(RAW_EVENT), b"Transfer-Encoding: chunked")
    head = head[: head.index(b"\r\n\r\n") + 4]
    trailed = CHUNKED.removesuffix("\r\n") + "X-Signature: none\r\n\r\n"
    assert statuses(await receiver.send(head + CHUNKED.encode())) == [200]
    assert statuses(await receiver.send(head + trailed.encode())) == [200]
    assert await receiver.count_raw_events() == 1


@pytest.mark.parametrize("chunk", [b"10000\r\n" + b"x" * 0x10000 + b"\r\n", b"1\r\nx\r\n" * 5_000])
async def test_server_chunked_body_over_the_limit_is_rejected(receiver: ReceiverHarness, chunk: bytes) -> None:
    """A body without length is rejected as soon as it is too large, and its sender can read the response."""
    head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    pieces = [chunk] * (320 * 1024 // (0x10000 if chunk[0] == ord("1") and len(chunk) > 0x10000 else 5_000))
    assert statuses(await receiver.send(head, *pieces)) == [413]


async def test_server_trailer_over_the_limit_is_rejected(receiver: ReceiverHarness) -> None:
    head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Endless: "
    assert statuses(await receiver.send(head, *[b"x" * 100_000] * 25)) == [413]


async def test_server_pipelined_requests_are_answered_in_order(receiver: ReceiverHarness) -> None:
    """An event that waits for its commit holds back the responses to later requests of the same connection."""
    kept_open = [make_request(make_raw_event(number), Connection="keep-alive") for number in range(100)]
    wrong = make_request(RAW_EVENT, "wrong", Connection="keep-alive")
    health = b"GET /healthz HTTP/1.1\r\n\r\n"
    answers = await receiver.send(b"".join([*kept_open, wrong, health, make_request(RAW_EVENT)]))
    assert statuses(answers) == [200] * 100 + [401, 200, 200]
    assert await receiver.count_raw_events() == 101


async def test_server_invalid_data_after_a_request_ends_the_connection(receiver: ReceiverHarness) -> None:
    """The request before the invalid data is answered, the invalid data is rejected, and nothing is read after it."""
    answers = await receiver.send(
        make_request(RAW_EVENT, Connection="keep-alive") + b"invalid data\r\n\r\n" + make_request(make_raw_event(2))
    )
    assert statuses(answers) == [200, 400]
    assert await receiver.count_raw_events() == 1


async def test_server_connection_header_decides_whether_it_stays_open(receiver: ReceiverHarness) -> None:
    """HTTP/1.1 keeps a connection open by default, HTTP/1.0 closes it; the response says which."""
    keep_alive_request = make_request(RAW_EVENT, Connection="keep-alive")
    answers = await receiver.send(keep_alive_request + make_request(RAW_EVENT))
    assert answers.count(b"Connection: keep-alive") == 1
    assert answers.count(b"Connection: close") == 1
    old = keep_alive_request.replace(b"HTTP/1.1", b"HTTP/1.0")
    assert statuses(await receiver.send(old + old.replace(b"keep-alive", b"close"))) == [200, 200]


async def test_server_expect_continue_is_answered_unless_the_body_would_be_rejected(receiver: ReceiverHarness) -> None:
    head, _, body = make_request(RAW_EVENT, Expect="100-continue").partition(b"\r\n\r\n")
    reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
    writer.write(head + b"\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body)
    assert statuses(await reader.read()) == [200]
    writer.close()
    assert statuses(await receiver.send(make_request(LARGE, Expect="100-continue")[:300])) == [413]


async def test_server_healthz_returns_200_while_the_ledger_can_be_written(receiver: ReceiverHarness) -> None:
    answer = await receiver.send(b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert statuses(answer) == [200]
    assert answer.endswith(b"\r\n\r\nok\n")


async def test_server_head_response_has_no_body(receiver: ReceiverHarness) -> None:
    """A connection that stays open stays in step."""
    answer = await receiver.send(b"HEAD / HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert answer.endswith(b"Allow: POST, GET\r\n\r\n")


async def wait_for(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(RESPONSE_SECONDS_MAX):
        while not condition():  # noqa: ASYNC110 - a server sets no event
            await asyncio.sleep(0.001)


async def wait_for_partial_requests(receiver: ReceiverHarness, count: int) -> None:
    """Return when the server has received the first part of so many requests."""
    connections = receiver.server._connections
    await wait_for(lambda: sum(connection._has_partial_request for connection in connections) == count)


async def wait_for_raw_events(receiver: ReceiverHarness, count: int) -> None:
    """Return when so many events are stored."""
    async with asyncio.timeout(RESPONSE_SECONDS_MAX):
        while await receiver.count_raw_events() < count:  # noqa: ASYNC110 - a ledger sets no event
            await asyncio.sleep(0.001)


async def test_server_half_closed_connection_is_answered(receiver: ReceiverHarness) -> None:
    """Some senders shut down their side before they read."""
    reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
    writer.write(make_request(RAW_EVENT, Connection="keep-alive"))
    writer.write_eof()
    assert statuses(await reader.read()) == [200]
    writer.close()


async def test_server_sender_that_disconnects_affects_no_other(receiver: ReceiverHarness) -> None:
    """Reset in the middle of a request, and right after one: others are answered, and the complete one is stored."""
    _, unfinished = await asyncio.open_connection("127.0.0.1", receiver.port)
    unfinished.write(make_request(make_raw_event(1))[:300])
    await wait_for_partial_requests(receiver, 1)
    unfinished.transport.abort()
    _, finished = await asyncio.open_connection("127.0.0.1", receiver.port)
    finished.write(make_request(make_raw_event(2)))
    await wait_for_raw_events(receiver, 1)
    finished.transport.abort()
    assert statuses(await receiver.send(make_request(make_raw_event(3)))) == [200]
    assert await receiver.count_raw_events() == 2


async def test_server_incomplete_request_is_not_stored(receiver: ReceiverHarness) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
    writer.write(make_request(RAW_EVENT)[:-1])
    writer.write_eof()
    assert await reader.read() == b""
    assert await receiver.count_raw_events() == 0
    writer.close()


async def test_server_slow_request_is_ended_with_a_response(
    receiver: ReceiverHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sender that trickles bytes does not extend the time for a whole request."""
    monkeypatch.setattr(http_connection, "REQUEST_SECONDS_MAX", 0.2)
    monkeypatch.setattr(http_server, "TICK_SECONDS", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
    answer = asyncio.ensure_future(reader.read())
    for byte in make_request(RAW_EVENT):
        writer.write(bytes([byte]))
        await asyncio.sleep(0.02)
        if answer.done():
            break
    assert statuses(await answer) == [408]
    writer.close()
    assert (await receiver.count_verdicts())["too_slow"] == 1


async def test_server_silent_connection_is_closed(receiver: ReceiverHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first request and after one."""
    monkeypatch.setattr(http_connection, "REQUEST_SECONDS_MAX", 0.1)
    monkeypatch.setattr(http_connection, "IDLE_SECONDS_MAX", 0.1)
    assert await receiver.send(b"") == b""
    assert statuses(await receiver.send(make_request(RAW_EVENT, Connection="keep-alive"))) == [200]


async def test_server_sender_that_does_not_read_is_disconnected(
    receiver: ReceiverHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unread responses do not pile up: reading stops, then the connection ends."""
    monkeypatch.setattr(http_connection, "WRITE_BLOCKED_SECONDS_MAX", 0.1)
    reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port, limit=1)
    request = b"GET / HTTP/1.1\r\n\r\n" * 10_000

    async def write_without_end() -> None:
        while True:
            writer.write(request)
            await writer.drain()

    with pytest.raises(ConnectionError):
        await asyncio.wait_for(write_without_end(), 30)
    del reader
    writer.close()


async def test_server_two_thousand_unfinished_requests_are_answered(receiver: ReceiverHarness) -> None:
    """And so is a request beside them."""
    number = min(2_000, raise_open_files_limit(5_000) // 2 - 100)
    requests = [make_request(make_raw_event(index)) for index in range(number)]
    streams = [await asyncio.open_connection("127.0.0.1", receiver.port) for _ in requests]
    for (_, writer), request in zip(streams, requests, strict=True):
        writer.write(request[:-1])
    assert statuses(await receiver.send(make_request(make_raw_event(number)))) == [200]
    for (_, writer), request in zip(streams, requests, strict=True):
        writer.write(request[-1:])
    answers = [await reader.read() for reader, _ in streams]
    assert {status for answer in answers for status in statuses(answer)} == {200}
    assert await receiver.count_raw_events() == number + 1
    for _, writer in streams:
        writer.close()


async def test_server_over_the_limit_closes_the_longest_idle_connection(receiver: ReceiverHarness) -> None:
    receiver.server._connections_max = 2
    first = await asyncio.open_connection("127.0.0.1", receiver.port)
    first[1].write(make_request(make_raw_event(1), Connection="keep-alive"))
    await first[0].readuntil(b"\r\n\r\n")
    second = await asyncio.open_connection("127.0.0.1", receiver.port)
    second[1].write(make_request(make_raw_event(2))[:-1])
    await wait_for_partial_requests(receiver, 1)
    assert statuses(await receiver.send(make_request(make_raw_event(3)))) == [200]
    second[1].write(make_request(make_raw_event(2))[-1:])
    assert statuses(await second[0].read()) == [200]
    assert await is_closed(first[0])
    first[1].close()
    second[1].close()


async def test_server_over_the_limit_without_idle_connection_answers_503(receiver: ReceiverHarness) -> None:
    """Connections in the middle of a request stay open."""
    receiver.server._connections_max = 1
    reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
    writer.write(make_request(RAW_EVENT)[:-1])
    await wait_for_partial_requests(receiver, 1)
    answer = await receiver.send(b"")
    assert statuses(answer) == [503]
    assert b"Retry-After: " in answer
    writer.write(make_request(RAW_EVENT)[-1:])
    assert statuses(await reader.read()) == [200]
    writer.close()


async def test_server_stop_answers_accepted_requests(tmp_path: Path) -> None:
    """Requests that arrived before the stop are committed and answered; incomplete ones and idle connections are
    closed.
    """
    async with open_receiver(tmp_path / "ledger.db") as receiver:
        streams = [await asyncio.open_connection("127.0.0.1", receiver.port) for _ in range(3)]
        streams[0][1].write(make_request(make_raw_event(1), Connection="keep-alive"))
        streams[1][1].write(make_request(make_raw_event(2))[:-1])
        await wait_for_partial_requests(receiver, 1)
        await wait_for_raw_events(receiver, 1)
        await wait_for(lambda: len(receiver.server._connections) == 3)
        streams[0][1].write(make_request(make_raw_event(3), Connection="keep-alive"))
        await asyncio.sleep(0.0005)
        await receiver.server.stop()
        answers = [statuses(await reader.read()) for reader, _ in streams]
        assert answers[1:] == [[], []]
        assert len(answers[0]) == await receiver.count_raw_events()
        with pytest.raises(ConnectionError):
            await receiver.send(make_request(RAW_EVENT))
        for _, writer in streams:
            writer.close()


async def test_server_port_in_use_raises_one_sentence(receiver: ReceiverHarness) -> None:
    second = http_server.WebhookServer(ingestor=receiver.ingestor, clock=receiver.server._clock)
    with pytest.raises(
        UsageError, match=rf"cannot listen on 127\.0\.0\.1:{receiver.port}: the port is in use \(intake\)"
    ):
        await second.start(Address("127.0.0.1", receiver.port))
    with pytest.raises(UsageError, match="cannot listen"):
        await second.start(Address("192.0.2.1", 0))


async def test_server_ipv6_any_address_accepts_ipv4(receiver: ReceiverHarness) -> None:
    dual_stack_server = http_server.WebhookServer(ingestor=receiver.ingestor, clock=receiver.server._clock)
    port = await dual_stack_server.start(Address("::", 0))
    for host in ("127.0.0.1", "::1"):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(make_request(RAW_EVENT))
        assert statuses(await reader.read()) == [200], host
        writer.close()
    await dual_stack_server.stop()


async def test_server_internal_error_ends_one_connection(
    receiver: ReceiverHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is logged, and the other requests of its round are answered."""
    loop_errors: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: loop_errors.append(context["exception"]))
    keep = receiver.ingestor.submit_request

    def accept(body: bytes, *rest: object, **named: object) -> None:
        assert b"30011" not in body, "a fault"
        keep(body, *rest, **named)  # type: ignore[arg-type] # handed on as they come

    monkeypatch.setattr(receiver.ingestor, "submit_request", accept)
    faulty = send_raw(receiver.port, make_request(make_event_body(sn="3651XXXXXXXX", type=30011)))
    answers = await asyncio.gather(faulty, send_raw(receiver.port, make_request(RAW_EVENT)), return_exceptions=True)
    assert answers[0] == b"" or isinstance(answers[0], ConnectionError)
    assert isinstance(answers[1], bytes)
    assert statuses(answers[1]) == [200]
    assert isinstance(loop_errors[0], AssertionError)


async def test_server_responses_reveal_no_serial_number_and_no_secret(receiver: ReceiverHarness) -> None:
    unknown, wrong = (
        await receiver.send(make_request(make_raw_event(1, "UNKNOWN"), "wrong")),
        await receiver.send(make_request(RAW_EVENT, "wrong")),
    )
    assert unknown.splitlines()[-1] == wrong.splitlines()[-1]
    assert SECRET.encode() not in unknown + wrong


async def is_closed(reader: asyncio.StreamReader) -> bool:
    """Return whether the other side has closed or reset a connection; remaining bytes are read."""
    with suppress(ConnectionError):
        await asyncio.wait_for(reader.read(), RESPONSE_SECONDS_MAX)
    return True


async def test_server_whose_settings_were_lost_answers_503_to_every_request(tmp_path: Path) -> None:
    """So that PBXs try again; nothing says which serial numbers were registered."""
    async with open_receiver(tmp_path / "ledger.db", pbxs=(), has_events=True) as receiver:
        requests = [(RAW_EVENT, None), (RAW_EVENT, "wrong"), (make_raw_event(1, "UNKNOWN"), None), (b"x", None)]
        answers = [await receiver.send(make_request(body, secret)) for body, secret in requests]
        assert [status for answer in answers for status in statuses(answer)] == [503] * 4
        assert all(b"Retry-After" in answer for answer in answers)
        health = await receiver.send(b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert statuses(health) == [503]
        assert await receiver.count_verdicts() == {"settings_lost": 4}


async def test_server_without_pbx_and_events_answers_as_before(tmp_path: Path) -> None:
    """A new installation has lost nothing."""
    async with open_receiver(tmp_path / "ledger.db", pbxs=()) as receiver:
        assert statuses(await receiver.send(make_request(RAW_EVENT))) == [401]


async def test_server_has_a_timer_only_while_there_are_connections(
    receiver: ReceiverHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "TICK_SECONDS", 0.01)
    assert receiver.server._tick_handle is None
    _reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
    await wait_until(lambda: receiver.server._tick_handle is not None)
    writer.close()
    await wait_until(lambda: receiver.server._tick_handle is None)
