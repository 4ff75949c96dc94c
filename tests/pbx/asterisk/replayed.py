"""An Asterisk that only says what a real one once said: a server on a real socket, for tests without root."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Self

from onhook.pbx.asterisk.messages import Message, MessageReader

USER, SECRET = "onhook", "correct horse"

CONFIGURATION: Mapping[str, str] = {
    "cdr.conf": "Category-000000: general\r\nLine-000000-000000: enable=yes\r\n",
    "cdr_manager.conf": "Category-000000: general\r\nLine-000000-000000: enabled=yes\r\n",
}


class ReplayedAsterisk:
    """It lets everybody in unless `refuses`; what it says comes from `say`. `actions` is all that it was asked."""

    def __init__(self) -> None:
        self.port = 0
        self.refuses = False
        self.is_mute = False
        self.greeting = b"Asterisk Call Manager/11.0.0\r\n"
        self.actions: list[Message] = []
        self.logins = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._heard_by_somebody = asyncio.Event()

    async def listen(self, port: int = 0, tls: ssl.SSLContext | None = None) -> Self:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", port, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def close(self) -> None:
        """As when the machine is switched off: nobody listens, and connections are gone."""
        if self._server is not None:
            self._server.close()
        await self.cut()

    async def cut(self) -> None:
        """End every connection."""
        for writer in list(self._writers):
            writer.transport.abort()
        self._writers.clear()
        self._heard_by_somebody.clear()

    async def heard(self) -> None:
        """Return when somebody has logged in."""
        async with asyncio.timeout(20):
            await self._heard_by_somebody.wait()

    async def say(self, data: bytes, piece: int = 1400) -> None:
        """Tell all who have logged in, in pieces as they come over a network."""
        for writer in list(self._writers):
            for begin in range(0, len(data), piece):
                writer.write(data[begin : begin + piece])
                await writer.drain()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        messages = MessageReader()
        writer.write(self.greeting)
        with suppress(ConnectionError, ssl.SSLError):
            while data := await reader.read(65_536):
                for action in messages.read(data):
                    if isinstance(action, Message) and not self.is_mute:
                        self._act(action, writer)
                await writer.drain()
        self._writers.discard(writer)
        writer.close()

    def _act(self, action: Message, writer: asyncio.StreamWriter) -> None:
        self.actions.append(action)
        name, question = action.get("Action"), action.get("ActionID")
        said = {"Challenge": "Challenge: 840415273\r\n", "Ping": "Ping: Pong\r\nTimestamp: 1795516755.209666\r\n"}
        is_refused = self.refuses and name == "Login"
        text = "Message: Authentication failed\r\n" if is_refused else said.get(name, "")
        if name == "GetConfig":
            text = CONFIGURATION.get(action.get("Filename"), "")
        if name.startswith("PJSIPShow"):
            text = "EventList: start\r\n"
        response = "Error" if is_refused or (name == "GetConfig" and not text) else "Success"
        writer.write(f"Response: {response}\r\nActionID: {question}\r\n{text}\r\n".encode())
        for listed in _listed(name):
            writer.write(f"Event: {listed}\r\nActionID: {question}\r\n\r\n".encode())
        if name == "Filter":
            self.logins += 1
            self._writers.add(writer)
            self._heard_by_somebody.set()


def _listed(action: str) -> tuple[str, ...]:
    """One trunk that registers, and one telephone."""
    trunk = "EndpointDetail\r\nObjectName: trunk-a\r\nContext: from-trunk"
    lists = {
        "PJSIPShowRegistrationsOutbound": ("OutboundRegistrationDetail\r\nEndpoint: trunk-a",),
        "PJSIPShowEndpoints": ("EndpointList\r\nObjectName: 1001", "EndpointList\r\nObjectName: trunk-a"),
        "PJSIPShowEndpoint": (trunk,),
    }
    return (*lists[action], "ListComplete\r\nEventList: Complete") if action in lists else ()


@asynccontextmanager
async def replayed_asterisk() -> AsyncIterator[ReplayedAsterisk]:
    asterisk = await ReplayedAsterisk().listen()
    try:
        yield asterisk
    finally:
        await asterisk.close()
