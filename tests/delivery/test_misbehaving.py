"""Receivers that misbehave, each in its own way, beside a normal one."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal, get_args

import pytest

from tests.delivery.harness import DeliveryHarness, WebhookReceiver, make_calls
from tests.waiting import polls, wait_until

Behaviour = Literal["hang", "close", "half a status", "half a body", "500", "429", "redirect", "endless", "no TLS"]

ATTEMPTS = 12
"""Failing attempts: one more than make an endpoint count as down."""

CALLS = 20

_RESPONSES: dict[Behaviour, bytes] = {
    "close": b"",
    "half a status": b"HTTP/1.1 2",
    "half a body": b"HTTP/1.1 500 Oh\r\nContent-Length: 100\r\n\r\nso",
    "500": b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno",
    "429": b"HTTP/1.1 429 Later\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
    "redirect": b"HTTP/1.1 307 There\r\nLocation: /trap\r\nContent-Length: 0\r\n\r\n",
    "no TLS": b"HTTP/1.1 400 Bad Request\r\n\r\n",
}


class MisbehavingReceiver:
    """Receiver that misbehaves in the first attempts and accepts later ones once `accepts_requests` is set."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.failed_count = 0
        self.paths: set[str] = set()
        self.accepted: set[str] = set()
        self.accepts_requests = asyncio.Event()
        self.port = 0

    @asynccontextmanager
    async def listen(self) -> AsyncIterator["MisbehavingReceiver"]:
        server = await asyncio.start_server(self._handle_connection, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _handle_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._answer(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # The client has disconnected.
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_wrong, body = self.failed_count < ATTEMPTS, b""
        self.failed_count += is_wrong
        if is_wrong and self.behaviour == "no TLS":
            await reader.read(1)
        else:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            (length,) = (line for line in head.lower().splitlines() if line.startswith("content-length"))
            body = await reader.readexactly(int(length.partition(":")[2]))
            self.paths.add(head.split()[1])
        if not is_wrong:
            await self.accepts_requests.wait()
            self.accepted.add(json.loads(json.loads(body)["msg"])["call_id"])
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        elif self.behaviour == "hang":
            await reader.read()
        elif self.behaviour == "endless":
            writer.write(b"HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n")
            while not writer.is_closing():
                writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
                await writer.drain()
        else:
            writer.write(_RESPONSES[self.behaviour])
        await writer.drain()


@pytest.mark.slow
@pytest.mark.parametrize("behaviour", get_args(Behaviour))
@pytest.mark.usefixtures("short_delays")
async def test_delivery_misbehaving_receiver_delays_no_other_and_gets_everything(
    harness: DeliveryHarness, receiver: WebhookReceiver, behaviour: Behaviour
) -> None:
    """The other one has everything meanwhile; in the end this one has too: nothing lost, nothing failed."""
    async with MisbehavingReceiver(behaviour).listen() as misbehaving:
        scheme = "https" if behaviour == "no TLS" else "http"
        await harness.add_destination(
            "bad",
            f"{scheme}://127.0.0.1:{misbehaving.port}/calls",
            timeout_seconds=1.0 if behaviour == "hang" else 10.0,
        )
        await harness.add_destination("good", receiver.url)
        harness.start()
        call_ids = set(await harness.put_calls(*make_calls(CALLS)))
        await wait_until(lambda: len(receiver.accepted) == CALLS)
        assert misbehaving.accepted == set()
        misbehaving.accepts_requests.set()
        if behaviour == "no TLS":
            await wait_until(lambda: misbehaving.failed_count == ATTEMPTS)
            await harness.appdb.destinations.change("bad", {"url": f"http://127.0.0.1:{misbehaving.port}/calls"})
        await wait_until(
            (
                misbehaving.accepted == call_ids
                and await harness.cursor("bad") == CALLS
                and not await harness.rows("bad", "retrying")
            )
            async for _ in polls()
        )
        assert misbehaving.failed_count == ATTEMPTS
        assert misbehaving.paths == {"/calls"}
        assert await harness.rows("bad", "failed") == []
        assert (await harness.appdb.destinations.get("good")).attempts_failed == 0
