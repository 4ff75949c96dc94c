"""WebSocket subscriptions, with the ordinary client `websockets` against the running PBX API
(yeastar-p-series.md 5).
"""

import asyncio
import json
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

import pytest
import websockets

from onhook.appdb.api_behaviour import ApiBehaviour
from onhook.lib.errors import Unavailable
from onhook.pbx.yeastar.payload import Yeastar
from onhook.pbx_api import sockets
from onhook.pbx_api.frame_masks import FloodCounter
from onhook.pbx_api.sockets import Listener, Sockets, text_frame
from tests.factories import details
from tests.pbx_api.harness import SN, PbxApiHarness, open_pbx_api_harness

SUCCESS = {"errcode": 0, "errmsg": "SUCCESS"}


async def subscribed(socket: websockets.ClientConnection, *topics: int) -> Any:
    await socket.send(json.dumps({"topic_list": topics}))
    return json.loads(await socket.recv())


async def test_socket_subscriber_receives_each_ended_call(harness: PbxApiHarness) -> None:
    """The response to `topic_list` first, then the events in the format of the PBX generation, in order."""
    calls = [details() for _ in range(5)]
    async with harness.connect_socket(await harness.token()) as socket:
        assert await subscribed(socket, 30011, 30012) == SUCCESS
        harness.add_records(calls)
        events = [str(await socket.recv()).encode() for _ in calls]
    assert events == [Yeastar().format(call, SN, "p-2026") for call in calls]


async def test_socket_without_subscription_receives_nothing(harness: PbxApiHarness) -> None:
    """Before a subscription, with other topics, and after an empty list; and no replay of it later."""
    calls = [details() for _ in range(4)]
    async with (
        harness.connect_socket(await harness.token()) as watching,
        harness.connect_socket(await harness.token()) as socket,
    ):
        await subscribed(watching, 30012)
        harness.add_records(calls[:1])
        assert await subscribed(socket, 30011, 30025) == SUCCESS
        harness.add_records(calls[1:2])
        assert await subscribed(socket, 30012) == SUCCESS
        assert await subscribed(socket) == SUCCESS
        harness.add_records(calls[2:3])
        # Events are sent to all sockets together: one that another socket has received would have arrived here too.
        assert [json.loads(await watching.recv())["type"] for _ in range(3)] == [30012] * 3
        assert await subscribed(socket, 30012) == SUCCESS
        harness.add_records(calls[3:])
        (msg,) = [json.loads(json.loads(await socket.recv())["msg"])]
    assert msg["call_id"] == calls[3].call_id


@pytest.mark.parametrize(
    ("message", "answered"),
    [
        ("heartbeat", "heartbeat response"),
        ('"heartbeat"', "heartbeat response"),
        ('{"topic_list":[]}', json.dumps(SUCCESS, separators=(",", ":"))),
        ('{"topic_list":[30012],"other":1}', json.dumps(SUCCESS, separators=(",", ":"))),
        ("ping", '{"errcode":40001,"errmsg":"PARAMETER SYNTAX ERROR"}'),
        ("", '{"errcode":40001,"errmsg":"PARAMETER SYNTAX ERROR"}'),
        ("[" * 3_000, '{"errcode":40002,"errmsg":"PARAMETER ERROR"}'),
        ('{"type":"ping"}', '{"errcode":40002,"errmsg":"PARAMETER ERROR"}'),
        ('{"topic_list":"30012"}', '{"errcode":40002,"errmsg":"PARAMETER ERROR"}'),
        ('{"topic_list":[' + "1," * 200 + "1]}", '{"errcode":40002,"errmsg":"PARAMETER ERROR"}'),
    ],
)
async def test_socket_messages_have_documented_responses(harness: PbxApiHarness, message: str, answered: str) -> None:
    """Heartbeats are bare texts; all else is JSON with an `errcode`."""
    async with harness.connect_socket(await harness.token()) as socket:
        await socket.send(message)
        assert await socket.recv() == answered


async def test_socket_silent_for_a_minute_is_closed(harness: PbxApiHarness) -> None:
    """A heartbeat keeps it open; an invalid message does not, nor do the pings of the protocol itself."""
    token = await harness.token()
    async with harness.connect_socket(token) as active, harness.connect_socket(token) as silent:
        harness.clock.advance(seconds=50)
        await active.send("heartbeat")
        assert await active.recv() == "heartbeat response"
        await silent.send('{"type":"ping"}')
        assert json.loads(await silent.recv())["errcode"] == 40002
        await (await silent.ping())
        harness.clock.advance(seconds=20)
        with pytest.raises(websockets.ConnectionClosedOK):
            await silent.recv()
        assert await subscribed(active, 30012) == SUCCESS


async def test_socket_is_closed_with_its_token(harness: PbxApiHarness) -> None:
    """A frame with 10004, then it is closed: after half an hour, and when the token is deleted."""
    tokens = [await harness.token(), await harness.token()]
    async with harness.connect_socket(tokens[0]) as deleted, harness.connect_socket(tokens[1]) as late:
        await harness.get("v1.0/del_token", tokens[0])
        assert json.loads(await deleted.recv()) == {"errcode": 10004, "errmsg": "TOKEN EXPIRED"}
        with pytest.raises(websockets.ConnectionClosedError):
            await deleted.recv()
        harness.clock.advance(minutes=30)
        assert json.loads(await late.recv())["errcode"] == 10004
        with pytest.raises(websockets.ConnectionClosedError):
            await late.recv()


async def test_socket_is_closed_after_a_frame_without_a_mask(harness: PbxApiHarness) -> None:
    """RFC 6455, 5.1; frames before it are answered, also those in the same packet."""
    async with harness.connect_socket(await harness.token()) as socket:
        await socket.send("heartbeat")
        assert await socket.recv() == "heartbeat response"
        masked, unmasked = b"\x81\x89\0\0\0\0heartbeat", b"\x81\x09heartbeat"
        socket.transport.write(masked)
        assert await socket.recv() == "heartbeat response"
        socket.transport.write(unmasked)
        with pytest.raises(websockets.ConnectionClosedError) as closed:
            await socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1002


@pytest.mark.parametrize(
    "frame",
    [
        b"\x89\x80\0\0\0\0",
        b"\x8a\x80\0\0\0\0",
        b"\x81\x89\0\0\0\0heartbeat",
        b"\x01\x80\0\0\0\0" + b"\0\x80\0\0\0\0" * 100,
    ],
    ids=["ping", "pong", "heartbeat", "part of a message"],
)
async def test_socket_that_floods_is_closed_with_a_reason(frame: bytes) -> None:
    counter = FloodCounter()
    async with (
        open_pbx_api_harness(on_flood=counter.add) as harness,
        harness.connect_socket(await harness.token()) as calm,
        harness.connect_socket(await harness.token()) as socket,
    ):
        socket.transport.write(frame * 10_000)
        with pytest.raises(websockets.ConnectionClosedError) as closed:
            await _read_all(socket)
        await calm.send("heartbeat")
        assert await calm.recv() == "heartbeat response"
        assert counter.count == 1
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (
        1008,
        "too many messages or pings: send fewer per second",
    )


async def _read_all(socket: websockets.ClientConnection) -> None:
    async for _message in socket:
        pass


async def test_socket_pings_are_answered(harness: PbxApiHarness) -> None:
    async with harness.connect_socket(await harness.token()) as socket, asyncio.timeout(30):
        await (await socket.ping(b"data"))


async def test_sockets_that_send_together_delay_no_other_task(
    harness: PbxApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers to many sockets are spread over many turns of the event loop."""
    answers_by_turn: Counter[int] = Counter()
    turn = 0

    async def count_turns() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    answer = Sockets._answer

    async def count_answer(*arguments: Any) -> None:
        answers_by_turn[turn] += 1
        await answer(*arguments)

    monkeypatch.setattr(Sockets, "_answer", count_answer)
    async with AsyncExitStack() as stack:
        token = await harness.token()
        clients = [await stack.enter_async_context(harness.connect_socket(token)) for _ in range(40)]
        counting = asyncio.create_task(count_turns())
        for client in clients:
            client.transport.write(b"\x81\x89\0\0\0\0heartbeat" * 20)
        for client in clients:
            assert [await client.recv() for _ in range(20)] == ["heartbeat response"] * 20
        counting.cancel()
    assert sum(answers_by_turn.values()) == 40 * 20
    assert max(answers_by_turn.values()) <= 2 * sockets.MESSAGES_PER_TURN


async def test_sockets_that_do_not_read_delay_no_heartbeat(
    harness: PbxApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although as many of them wait as are answered in a turn. That a client does not read is a mock: its answer never
    ends.
    """
    waiting_listeners: set[Listener] = set()
    answer = Sockets._answer

    async def wait_for_ever(self: Sockets, socket: Any, listener: Listener, message: Any) -> None:
        if message.data == "slow":
            waiting_listeners.add(listener)
            await asyncio.Event().wait()
        await answer(self, socket, listener, message)

    monkeypatch.setattr(Sockets, "_answer", wait_for_ever)
    async with AsyncExitStack() as stack, asyncio.timeout(20):
        token = await harness.token()
        for _ in range(2 * sockets.MESSAGES_PER_TURN):
            slow = await stack.enter_async_context(harness.connect_socket(token))
            stack.callback(slow.transport.abort)  # the server would not answer the end of the connection either
            await slow.send("slow")
        calm = await stack.enter_async_context(harness.connect_socket(token))
        await calm.send("heartbeat")
        assert await calm.recv() == "heartbeat response"
        while len(waiting_listeners) < 2 * sockets.MESSAGES_PER_TURN:  # noqa: ASYNC110 - the sockets set no event
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("token", ["", "x" * 32])
async def test_socket_invalid_token_is_rejected(harness: PbxApiHarness, token: str) -> None:
    """At the handshake; the body of the response has 10004."""
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with harness.connect_socket(token):
            pass
    assert refused.value.response.status_code == 200
    assert json.loads(refused.value.response.body)["errcode"] == 10004


async def test_socket_payload_format_is_the_applications() -> None:
    """And so are the PBXs."""
    async with open_pbx_api_harness(behaviour=ApiBehaviour(payload_format="p-2023")) as harness:
        leg_details = details()
        async with harness.connect_socket(await harness.token()) as socket:
            await subscribed(socket, 30012)
            harness.add_records([leg_details])
            assert str(await socket.recv()).encode() == Yeastar().format(leg_details, SN, "p-2023")


async def test_socket_application_receives_nothing_of_other_pbxs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither events nor rows."""
    has_built_frames, build_frames = asyncio.Event(), Sockets._build_frames

    def build_and_set(*arguments: Any) -> bytes:
        has_built_frames.set()
        return build_frames(*arguments)

    monkeypatch.setattr(Sockets, "_build_frames", build_and_set)
    async with open_pbx_api_harness(pbxs=("3699OTHER000",)) as harness:
        token = await harness.token()
        async with harness.connect_socket(token) as socket:
            await subscribed(socket, 30012)
            harness.add_records([details()])
            await asyncio.wait_for(has_built_frames.wait(), 20)
            await socket.send("heartbeat")
            assert await socket.recv() == "heartbeat response"
        assert (await harness.get("v1.0/cdr/list", token))["total_number"] == 0


async def test_socket_client_that_does_not_read_is_disconnected(harness: PbxApiHarness) -> None:
    """The others receive everything; the unread bytes of the slow one are limited."""
    calls = [details(recording="x" * 60_000) for _ in range(400)]
    token = await harness.token()
    slow = await websockets.connect(
        f"ws://{harness.address}/openapi/v1.0/subscribe?access_token={token}",
        max_queue=1,
        ping_interval=None,
        close_timeout=0.1,
    )
    await subscribed(slow, 30012)
    async with harness.connect_socket(token) as quick:
        await subscribed(quick, 30012)
        for n in range(0, len(calls), 10):
            harness.add_records(calls[n : n + 10])
            for _ in range(10):
                await quick.recv()
        assert harness.pbx_api.state.sockets.count == 1
    await slow.close()


@pytest.mark.parametrize(
    ("length", "head"),
    [(0, b"\x81\x00"), (125, b"\x81\x7d"), (126, b"\x81\x7e\x00\x7e"), (65_536, b"\x81\x7f" + (65_536).to_bytes(8))],
)
def test_text_frame_has_its_length_in_front(length: int, head: bytes) -> None:
    """In one, three or nine bytes (RFC 6455)."""
    assert text_frame(b"x" * length) == head + b"x" * length


async def test_socket_number_per_application_is_limited(
    harness: PbxApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """60002 at the handshake; a place is free again when one is closed."""
    monkeypatch.setattr(sockets, "SOCKETS_OF_APP_MAX", 1)
    token = await harness.token()
    async with harness.connect_socket(token):
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with harness.connect_socket(token):
                pass
        assert json.loads(refused.value.response.body)["errcode"] == 60002
    async with harness.connect_socket(token) as socket:
        assert await subscribed(socket, 30012) == SUCCESS


async def test_socket_events_wait_for_an_unreadable_store(
    harness: PbxApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are sent when it can be read again, and the socket stays open."""
    monkeypatch.setattr(sockets, "RETRY_SECONDS", 0.01)
    failures = iter([Unavailable("the disk is missing"), Unavailable("the disk is missing")])
    read = harness.calls.list_new_records

    async def list_new_records_or_fail(after: int, limit: int) -> Any:
        for error in failures:
            raise error
        return await read(after, limit)

    monkeypatch.setattr(harness.calls, "list_new_records", list_new_records_or_fail)
    leg_details = details()
    async with harness.connect_socket(await harness.token()) as socket:
        await subscribed(socket, 30012)
        harness.add_records([leg_details])
        assert json.loads(json.loads(await socket.recv())["msg"])["call_id"] == leg_details.call_id
