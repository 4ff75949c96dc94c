"""The WebSocket subscription, with the ordinary client `websockets` against the running exchange (yeastar-p-series.md
5)."""

import asyncio
import json
from typing import Any

import pytest
import websockets

from onhook.appdb.api_behaviour import ApiBehaviour
from onhook.lib.errors import Unavailable
from onhook.pbx.yeastar.payload import Yeastar
from onhook.pbx_api import sockets
from onhook.pbx_api.sockets import text_frame
from tests.factories import details
from tests.pbx_api.harness import SN, PbxApiHarness, open_pbx_api_harness

SUCCESS = {"errcode": 0, "errmsg": "SUCCESS"}


async def subscribed(socket: websockets.ClientConnection, *topics: int) -> Any:
    await socket.send(json.dumps({"topic_list": topics}))
    return json.loads(await socket.recv())


async def test_a_subscriber_gets_each_call_that_ends(harness: PbxApiHarness) -> None:
    """The answer to `topic_list` first, then the event as its generation of PBX writes it, in order."""
    calls = [details() for _ in range(5)]
    async with harness.connect_socket(await harness.token()) as socket:
        assert await subscribed(socket, 30011, 30012) == SUCCESS
        harness.add_records(calls)
        got = [str(await socket.recv()).encode() for _ in calls]
    assert got == [Yeastar().format(call, SN, "p-2026") for call in calls]


async def test_nobody_is_sent_what_was_not_asked_for(harness: PbxApiHarness) -> None:
    """Before a subscription, with other topics, and after an empty list: nothing; and no replay of it later."""
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
        # All is sent to everybody in one go: what another socket has got, this one would have too.
        assert [json.loads(await watching.recv())["type"] for _ in range(3)] == [30012] * 3
        assert await subscribed(socket, 30012) == SUCCESS
        harness.add_records(calls[3:])
        (msg,) = [json.loads(json.loads(await socket.recv())["msg"])]
    assert msg["call_id"] == calls[3].call_id


@pytest.mark.parametrize(
    ("said", "answered"),
    [
        ("heartbeat", "heartbeat response"),
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
async def test_what_is_said_and_answered(harness: PbxApiHarness, said: str, answered: str) -> None:
    """Heartbeats are bare texts; all else is JSON with an `errcode`."""
    async with harness.connect_socket(await harness.token()) as socket:
        await socket.send(said)
        assert await socket.recv() == answered


async def test_silence_of_a_minute_ends_a_socket(harness: PbxApiHarness) -> None:
    """A heartbeat keeps it; what is not understood does not, nor do the pings of the protocol itself."""
    token = await harness.token()
    async with harness.connect_socket(token) as kept, harness.connect_socket(token) as silent:
        harness.clock.advance(seconds=50)
        await kept.send("heartbeat")
        assert await kept.recv() == "heartbeat response"
        await silent.send('{"type":"ping"}')
        assert json.loads(await silent.recv())["errcode"] == 40002
        await (await silent.ping())
        harness.clock.advance(seconds=20)
        with pytest.raises(websockets.ConnectionClosedOK):
            await silent.recv()
        assert await subscribed(kept, 30012) == SUCCESS


async def test_a_socket_ends_with_its_token(harness: PbxApiHarness) -> None:
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


@pytest.mark.parametrize("token", ["", "x" * 32])
async def test_a_bad_token_gets_no_socket(harness: PbxApiHarness, token: str) -> None:
    """Refused at the handshake; the answer's body says 10004, as any answer does."""
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with harness.connect_socket(token):
            pass
    assert refused.value.response.status_code == 200
    assert json.loads(refused.value.response.body)["errcode"] == 10004


async def test_each_application_gets_its_own_generation() -> None:
    """The profile and the PBXs of the application decide."""
    async with open_pbx_api_harness(behaviour=ApiBehaviour(payload_format="p-2023")) as harness:
        one = details()
        async with harness.connect_socket(await harness.token()) as socket:
            await subscribed(socket, 30012)
            harness.add_records([one])
            assert str(await socket.recv()).encode() == Yeastar().format(one, SN, "p-2023")


async def test_an_application_gets_nothing_of_other_pbxs() -> None:
    """Neither events nor rows."""
    async with open_pbx_api_harness(pbxs=("3699OTHER000",)) as harness:
        token = await harness.token()
        async with harness.connect_socket(token) as socket:
            await subscribed(socket, 30012)
            harness.add_records([details()])
            await asyncio.sleep(0.2)
            await socket.send("heartbeat")
            assert await socket.recv() == "heartbeat response"
        assert (await harness.get("v1.0/cdr/list", token))["total_number"] == 0


async def test_a_reader_that_takes_nothing_is_cut_off(harness: PbxApiHarness) -> None:
    """The others get all; what waits for the slow one is bounded."""
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
def test_a_frame_has_its_length_in_front(length: int, head: bytes) -> None:
    """In one, three or nine bytes, as RFC 6455 has it."""
    assert text_frame(b"x" * length) == head + b"x" * length


async def test_an_application_has_only_so_many_sockets(harness: PbxApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
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


async def test_events_wait_for_a_store_that_cannot_be_read(
    harness: PbxApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come when it can be read again, and the socket stays."""
    monkeypatch.setattr(sockets, "RETRY_SECONDS", 0.01)
    failures = iter([Unavailable("the disk is away"), Unavailable("the disk is away")])
    read = harness.calls.list_new_records

    async def news(after: int, limit: int) -> Any:
        for error in failures:
            raise error
        return await read(after, limit)

    monkeypatch.setattr(harness.calls, "list_new_records", news)
    one = details()
    async with harness.connect_socket(await harness.token()) as socket:
        await subscribed(socket, 30012)
        harness.add_records([one])
        assert json.loads(json.loads(await socket.recv())["msg"])["call_id"] == one.call_id
