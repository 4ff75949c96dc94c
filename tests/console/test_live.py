"""Live feed: each record is sent once, also to clients that reconnect; a slow client delays no other."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from onhook.console import streaming
from onhook.console.api import live
from onhook.console.live.live_tail import BATCH_RECORDS_MAX, LiveTail
from onhook.store.duckdb import DuckDbStore
from onhook.store.position_notifier import PositionNotifier
from tests.console.conftest import ConsoleHarness
from tests.factories import details


class Listener:
    """A reader of the stream."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer

    async def block(self) -> list[str]:
        """Return the lines up to the next blank one."""
        lines: list[str] = []
        async with asyncio.timeout(20):
            while line := (await self.answer.content.readline()).decode().rstrip("\n"):
                lines.append(line)
        return lines

    async def record(self) -> dict[str, Any]:
        """Return the next record, and check its event; comments are skipped."""
        while True:
            lines = await self.block()
            if lines and lines[0].startswith("id: "):
                number, event, data = lines
                record: dict[str, Any] = json.loads(data.removeprefix("data: "))
                assert (number, event) == (f"id: {record['seq']}", "event: record")
                return record


@asynccontextmanager
async def open_listener(client: aiohttp.ClientSession, query: str = "", **headers: str) -> AsyncIterator[Listener]:
    """Yield a listener whose stream is open."""
    async with client.get(f"/api/v1/live{query}", headers=headers) as answer:
        assert answer.content_type == "text/event-stream"
        listener = Listener(answer)
        assert (await listener.block())[0].startswith("retry: ")
        yield listener


async def test_live_sends_new_records(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """All listeners receive the same records, and no earlier ones."""
    await harness.ingest_details([details(call_from="1000")])
    async with open_listener(client) as listener, open_listener(client) as other:
        await harness.ingest_details([details(call_from="1003")])
        assert [(await each.record())["call_from"] for each in (listener, other)] == ["1003", "1003"]


@pytest.mark.parametrize("way", ["header", "parameter"])
async def test_live_reconnect_continues_after_last_event(
    harness: ConsoleHarness, client: aiohttp.ClientSession, way: str
) -> None:
    """Each record is sent once."""
    await harness.ingest_details([details()])
    async with open_listener(client) as listener:
        await harness.ingest_details([details(), details()])
        seqs = [(await listener.record())["seq"]]
    await harness.ingest_details([details() for _ in range(BATCH_RECORDS_MAX + 3)])
    headers = {"Last-Event-ID": str(seqs[-1])} if way == "header" else {}
    async with open_listener(client, "" if headers else f"?after={seqs[-1]}", **headers) as listener:
        seqs += [(await listener.record())["seq"] for _ in range(BATCH_RECORDS_MAX + 4)]
    assert seqs == list(range(3, BATCH_RECORDS_MAX + 8))


async def test_live_filters_apply(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    async with open_listener(client, "?number=1003") as listener:
        await harness.ingest_details([details()])
        await harness.ingest_details([details(call_from="1003")])
        assert (await listener.record())["call_from"] == "1003"


async def test_live_invalid_last_event_id_is_rejected(client: aiohttp.ClientSession) -> None:
    answer = await client.get("/api/v1/live", headers={"Last-Event-ID": "12; DROP"})
    assert answer.status == 400
    assert "Last-Event-ID" in (await answer.json())["detail"]


async def test_live_idle_stream_sends_comments(client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "HEARTBEAT_SECONDS", 0.05)
    async with open_listener(client) as listener:
        assert [await listener.block() for _ in range(2)] == [[":"], [":"]]


@pytest.mark.slow
async def test_live_listeners_are_limited(
    harness: ConsoleHarness, client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listener over the limit is rejected; when another one leaves, its place is free."""
    monkeypatch.setattr(live, "HEARTBEAT_SECONDS", 0.05)
    async with harness.client(connector=aiohttp.TCPConnector(limit=0)) as unlimited_client:
        answers = [await unlimited_client.get("/api/v1/live") for _ in range(live.LISTENERS_MAX)]
        for answer in answers:
            await Listener(answer).block()
        refused = await client.get("/api/v1/live")
        assert (refused.status, refused.content_type) == (503, "application/problem+json")
        assert "Retry-After" in refused.headers
        for answer in answers:
            answer.close()
        await wait_until_no_listeners(harness)
    async with open_listener(client):
        pass


@pytest.mark.slow
async def test_live_slow_reader_is_disconnected(harness: ConsoleHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The response does not end like a complete one."""
    monkeypatch.setattr(streaming, "SLOW_READER_SECONDS", 0.3)
    await harness.ingest_details([details(recording="r" * 9000) for _ in range(BATCH_RECORDS_MAX * 10)])
    stuck = socket.socket()
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stuck.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(stuck, ("127.0.0.1", int(harness.url.rpartition(":")[2])))
    ask = f"GET /api/v1/live?after=0 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {harness.admin_token}\r\n\r\n"
    await loop.sock_sendall(stuck, ask.encode())
    last_piece = await loop.sock_recv(stuck, 1000)
    assert last_piece.startswith(b"HTTP/1.1 200")
    await wait_until_no_listeners(harness)
    async with asyncio.timeout(20):
        while piece := await loop.sock_recv(stuck, 1 << 20):
            last_piece = piece
    assert not last_piece.endswith(b"0\r\n\r\n")
    stuck.close()


async def wait_until_no_listeners(harness: ConsoleHarness) -> None:
    async with harness.client() as client, asyncio.timeout(20):
        while "onhook_live_listeners 0.0" not in await (await client.get("/metrics")).text():  # noqa: ASYNC110 - requested over the network
            await asyncio.sleep(0.05)


async def test_live_streams_end_at_shutdown(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    async with open_listener(client) as listener:
        harness.feed.close()
        assert await listener.answer.content.read() == b""


async def test_live_listeners_at_one_position_share_a_read(
    harness: ConsoleHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = 0
    store = harness.store
    original = DuckDbStore.records_after

    async def counted(self: DuckDbStore, seq: int, limit: int) -> Any:
        nonlocal readings
        readings += 1
        return await original(self, seq, limit)

    monkeypatch.setattr(DuckDbStore, "records_after", counted)
    await harness.ingest_details([details()])
    tail = LiveTail(store, PositionNotifier())
    answers = await asyncio.gather(*(tail.records_after(0) for _ in range(20)))
    assert readings == 1
    assert all(len(answer) == 1 for answer in answers)
