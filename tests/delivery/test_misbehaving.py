"""Applications that misbehave, each in its own manner, beside one that is well."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal, get_args

import pytest

from tests.delivery.harness import DeliveryHarness, WebhookReceiver, make_calls, wait_until

Manner = Literal["hang", "close", "half a status", "half a body", "500", "429", "redirect", "endless", "no TLS"]

ATTEMPTS = 12
"""That go wrong, one more than make an application count as down."""

CALLS = 20

_SAID: dict[Manner, bytes] = {
    "close": b"",
    "half a status": b"HTTP/1.1 2",
    "half a body": b"HTTP/1.1 500 Oh\r\nContent-Length: 100\r\n\r\nso",
    "500": b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno",
    "429": b"HTTP/1.1 429 Later\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
    "redirect": b"HTTP/1.1 307 There\r\nLocation: /trap\r\nContent-Length: 0\r\n\r\n",
    "no TLS": b"HTTP/1.1 400 Bad Request\r\n\r\n",
}


class Misbehaving:
    """Goes wrong in its manner with the first attempts, and takes what comes then, once it `may_take` anything."""

    def __init__(self, manner: Manner) -> None:
        self.manner = manner
        self.wrong = 0
        self.paths: set[str] = set()
        self.taken: set[str] = set()
        self.may_take = asyncio.Event()
        self.port = 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Misbehaving"]:
        server = await asyncio.start_server(self._hear, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._answer(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # who asked has gone
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_wrong, body = self.wrong < ATTEMPTS, b""
        self.wrong += is_wrong
        if is_wrong and self.manner == "no TLS":
            await reader.read(1)
        else:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            (length,) = (line for line in head.lower().splitlines() if line.startswith("content-length"))
            body = await reader.readexactly(int(length.partition(":")[2]))
            self.paths.add(head.split()[1])
        if not is_wrong:
            await self.may_take.wait()
            self.taken.add(json.loads(json.loads(body)["msg"])["call_id"])
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        elif self.manner == "hang":
            await reader.read()
        elif self.manner == "endless":
            writer.write(b"HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n")
            while not writer.is_closing():
                writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
                await writer.drain()
        else:
            writer.write(_SAID[self.manner])
        await writer.drain()


@pytest.mark.slow
@pytest.mark.parametrize("manner", get_args(Manner))
@pytest.mark.usefixtures("short_delays")
async def test_who_misbehaves_delays_nobody_and_gets_everything(
    harness: DeliveryHarness, receiver: WebhookReceiver, manner: Manner
) -> None:
    """The other has all while this one has nothing; in the end it has all too, nothing lost, nothing parked."""
    async with Misbehaving(manner).listening() as bad:
        scheme = "https" if manner == "no TLS" else "http"
        harness.add_destination(
            "bad", f"{scheme}://127.0.0.1:{bad.port}/calls", timeout_seconds=1.0 if manner == "hang" else 10.0
        )
        harness.add_destination("good", receiver.url)
        harness.start()
        said = set(await harness.put_calls(*make_calls(CALLS)))
        await wait_until(lambda: len(receiver.accepted) == CALLS)
        assert bad.taken == set()
        bad.may_take.set()
        if manner == "no TLS":
            await wait_until(lambda: bad.wrong == ATTEMPTS)
            harness.appdb.destinations.change("bad", {"url": f"http://127.0.0.1:{bad.port}/calls"})
        await wait_until(
            lambda: bad.taken == said and harness.cursor("bad") == CALLS and not harness.rows("bad", "retrying")
        )
        assert bad.wrong == ATTEMPTS
        assert bad.paths == {"/calls"}
        assert harness.rows("bad", "failed") == []
        assert harness.appdb.destinations.get("good").attempts_failed == 0
