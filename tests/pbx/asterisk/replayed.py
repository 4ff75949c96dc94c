"""A simulated Asterisk that replays recorded streams over a real socket, for tests without root."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Self

from onhook.pbx.asterisk.messages import AmiMessage, AmiMessageReader

USER, SECRET = "onhook", "correct horse"

CONFIG_FILES: Mapping[str, str] = {
    "cdr.conf": "Category-000000: general\r\nLine-000000-000000: enable=yes\r\n",
    "cdr_manager.conf": "Category-000000: general\r\nLine-000000-000000: enabled=yes\r\n",
}


LISTS: Mapping[str, tuple[str, ...]] = {
    "PJSIPShowRegistrationsOutbound": ("OutboundRegistrationDetail\r\nEndpoint: trunk-a",),
    "PJSIPShowEndpoints": ("EndpointList\r\nObjectName: 1001", "EndpointList\r\nObjectName: trunk-a"),
    "PJSIPShowEndpoint": ("EndpointDetail\r\nObjectName: trunk-a\r\nContext: from-trunk",),
    "QueueStatus": (),
    "CoreShowChannels": (),
}
"""One trunk that registers, one telephone, and no queue."""


class FakeAsterisk:
    """Accepts every login unless `rejects_login` is set; `send` sends events. `actions` are all received actions,
    `lists` the events with which actions are answered.
    """

    def __init__(self) -> None:
        self.port = 0
        self.rejects_login = False
        self.is_silent = False
        self.greeting = b"Asterisk Call Manager/11.0.0\r\n"
        self.actions: list[AmiMessage] = []
        self.lists = dict(LISTS)
        self.login_count = self.received_count = self.open_count = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._logged_in = asyncio.Event()

    async def listen(self, port: int = 0, tls: ssl.SSLContext | None = None) -> Self:
        self._server = await asyncio.start_server(self._serve_connection, "127.0.0.1", port, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def close(self) -> None:
        """Stop listening and abort all connections, as when the machine is switched off."""
        if self._server is not None:
            self._server.close()
        await self.close_connections()

    async def close_connections(self) -> None:
        """Abort all connections."""
        for writer in list(self._writers):
            writer.transport.abort()
        self._writers.clear()
        self._logged_in.clear()

    async def wait_for_login(self) -> None:
        """Return after a login."""
        async with asyncio.timeout(20):
            await self._logged_in.wait()

    async def send(self, data: bytes, chunk_bytes: int = 1400) -> None:
        """Send data to all logged-in connections, in chunks as over a network."""
        for writer in list(self._writers):
            for start in range(0, len(data), chunk_bytes):
                writer.write(data[start : start + chunk_bytes])
                await writer.drain()

    async def _serve_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        messages = AmiMessageReader()
        writer.write(self.greeting)
        self.open_count += 1
        with suppress(ConnectionError, ssl.SSLError):
            while data := await reader.read(65_536):
                for action in messages.receive_data(data):
                    self.received_count += 1
                    if isinstance(action, AmiMessage) and not self.is_silent:
                        self._handle_action(action, writer)
                await writer.drain()
        self.open_count -= 1
        self._writers.discard(writer)
        writer.close()

    def _handle_action(self, action: AmiMessage, writer: asyncio.StreamWriter) -> None:
        self.actions.append(action)
        name, action_id = action.get("Action"), action.get("ActionID")
        response_headers = {
            "Challenge": "Challenge: 840415273\r\n",
            "Ping": "Ping: Pong\r\nTimestamp: 1795516755.209666\r\n",
        }
        is_rejected = self.rejects_login and name == "Login"
        text = "Message: Authentication failed\r\n" if is_rejected else response_headers.get(name, "")
        if name == "GetConfig":
            text = CONFIG_FILES.get(action.get("Filename"), "")
        if name in self.lists:
            text = "EventList: start\r\n"
        response = "Error" if is_rejected or (name == "GetConfig" and not text) else "Success"
        writer.write(f"Response: {response}\r\nActionID: {action_id}\r\n{text}\r\n".encode())
        list_items = (*self.lists[name], "ListComplete\r\nEventList: Complete") if name in self.lists else ()
        for list_item in list_items:
            writer.write(f"Event: {list_item}\r\nActionID: {action_id}\r\n\r\n".encode())
        if name == "Filter":
            self.login_count += 1
            self._writers.add(writer)
            self._logged_in.set()


@asynccontextmanager
async def open_fake_asterisk() -> AsyncIterator[FakeAsterisk]:
    asterisk = await FakeAsterisk().listen()
    try:
        yield asterisk
    finally:
        await asterisk.close()
