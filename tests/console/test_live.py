"""The live feed: what comes is told once, also to who was away; nobody holds it up."""

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
    """One reader of the stream."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer

    async def block(self) -> list[str]:
        """The lines up to the next blank one."""
        lines: list[str] = []
        async with asyncio.timeout(20):
            while line := (await self.answer.content.readline()).decode().rstrip("\n"):
                lines.append(line)
        return lines

    async def record(self) -> dict[str, Any]:
        """The next record; comments are passed over. Its event is checked."""
        while True:
            lines = await self.block()
            if lines and lines[0].startswith("id: "):
                number, event, told = lines
                record: dict[str, Any] = json.loads(told.removeprefix("data: "))
                assert (number, event) == (f"id: {record['seq']}", "event: record")
                return record


@asynccontextmanager
async def listening(client: aiohttp.ClientSession, query: str = "", **headers: str) -> AsyncIterator[Listener]:
    """A listener that has been told that the line is open."""
    async with client.get(f"/api/v1/live{query}", headers=headers) as answer:
        assert answer.content_type == "text/event-stream"
        listener = Listener(answer)
        assert (await listener.block())[0].startswith("retry: ")
        yield listener


async def test_what_comes_is_told(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """A listener is told what comes after it began, to all listeners the same, and not what was before."""
    await harness.ingest_details([details(call_from="1000")])
    async with listening(client) as one, listening(client) as other:
        await harness.ingest_details([details(call_from="1003")])
        assert [(await each.record())["call_from"] for each in (one, other)] == ["1003", "1003"]


@pytest.mark.parametrize("way", ["header", "parameter"])
async def test_who_was_away_missed_nothing(harness: ConsoleHarness, client: aiohttp.ClientSession, way: str) -> None:
    """By the number of the last event, a listener goes on where it was: each record once."""
    await harness.ingest_details([details()])
    async with listening(client) as listener:
        await harness.ingest_details([details(), details()])
        seqs = [(await listener.record())["seq"]]
    await harness.ingest_details([details() for _ in range(BATCH_RECORDS_MAX + 3)])
    headers = {"Last-Event-ID": str(seqs[-1])} if way == "header" else {}
    async with listening(client, "" if headers else f"?after={seqs[-1]}", **headers) as listener:
        seqs += [(await listener.record())["seq"] for _ in range(BATCH_RECORDS_MAX + 4)]
    assert seqs == list(range(2, BATCH_RECORDS_MAX + 7))


async def test_filters_apply(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """A listener is told only of what it asked for."""
    async with listening(client, "?number=1003") as listener:
        await harness.ingest_details([details()])
        await harness.ingest_details([details(call_from="1003")])
        assert (await listener.record())["call_from"] == "1003"


async def test_a_wrong_number_is_refused(client: aiohttp.ClientSession) -> None:
    """A Last-Event-ID that is none of ours is told so, not taken for the beginning."""
    answer = await client.get("/api/v1/live", headers={"Last-Event-ID": "12; DROP"})
    assert answer.status == 400
    assert "Last-Event-ID" in (await answer.json())["detail"]


async def test_an_open_line_beats(client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing happens, a comment says that the line is open."""
    monkeypatch.setattr(live, "HEARTBEAT_SECONDS", 0.05)
    async with listening(client) as listener:
        assert [await listener.block() for _ in range(2)] == [[":"], [":"]]


async def test_so_many_may_listen(
    harness: ConsoleHarness, client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One more than there are places is told to come later; when one leaves, its place is free again."""
    monkeypatch.setattr(live, "HEARTBEAT_SECONDS", 0.05)
    async with harness.client(connector=aiohttp.TCPConnector(limit=0)) as many:
        answers = [await many.get("/api/v1/live") for _ in range(live.LISTENERS_MAX)]
        for answer in answers:
            await Listener(answer).block()
        refused = await client.get("/api/v1/live")
        assert (refused.status, refused.content_type) == (503, "application/problem+json")
        assert "Retry-After" in refused.headers
        for answer in answers:
            answer.close()
        await until_nobody_listens(harness)
    async with listening(client):
        pass


async def test_a_slow_reader_is_cut_off(harness: ConsoleHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who takes nothing loses its place, and what it got does not end as if it were whole."""
    monkeypatch.setattr(streaming, "SLOW_READER_SECONDS", 0.3)
    await harness.ingest_details([details(recording="r" * 9000) for _ in range(BATCH_RECORDS_MAX * 10)])
    stuck = socket.socket()
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stuck.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(stuck, ("127.0.0.1", int(harness.url.rpartition(":")[2])))
    ask = f"GET /api/v1/live?after=0 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {harness.admin_token}\r\n\r\n"
    await loop.sock_sendall(stuck, ask.encode())
    got = await loop.sock_recv(stuck, 1000)
    assert got.startswith(b"HTTP/1.1 200")
    await until_nobody_listens(harness)
    async with asyncio.timeout(20):
        while piece := await loop.sock_recv(stuck, 1 << 20):
            got = piece
    assert not got.endswith(b"0\r\n\r\n")
    stuck.close()


async def until_nobody_listens(harness: ConsoleHarness) -> None:
    async with harness.client() as client, asyncio.timeout(20):
        while "onhook_live_listeners 0.0" not in await (await client.get("/metrics")).text():  # noqa: ASYNC110 - asked over the network
            await asyncio.sleep(0.05)


async def test_closing_lets_everybody_go(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """When the house closes, streams end and are not waited for."""
    async with listening(client) as listener:
        harness.feed.close()
        assert await listener.answer.content.read() == b""


async def test_listeners_at_one_place_share_a_reading(harness: ConsoleHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many listen, the store is asked once for what is new."""
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
