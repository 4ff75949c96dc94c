"""A simulated PBX that writes lines: to a connection that it opens, or to each that the receiver opens.

There is no acknowledgement: a line counts as accepted once the connection took it.
"""

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from onhook.lib.messages import _
from onhook.lib.sockets import listening_socket
from onhook.simulator.office_plan import LINE_LISTEN
from onhook.simulator.results import NO_RESPONSE, WRITTEN

BACKLOG = 8
CLOSE_SECONDS_MAX = 2.0


class LineWriter:
    """Context manager. `url` is `tcp://HOST:PORT` or `tcp-listen://HOST:PORT`; a line waits for a connection for at
    most so many seconds.
    """

    def __init__(self, url: str, timeout_seconds: float) -> None:
        parts = urlsplit(url)
        self._is_listening = parts.scheme == LINE_LISTEN
        self._host, self._port = parts.hostname or "", parts.port or 0
        self._timeout_seconds = timeout_seconds
        self._writer: asyncio.StreamWriter | None = None
        self._connected = asyncio.Event()
        self._lock = asyncio.Lock()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        """Listen, where the receiver connects. Raises `UsageError` where the address cannot be used."""
        if self._is_listening:
            server_socket = listening_socket(self._host, self._port, backlog=BACKLOG, option="to")
            self._server = await asyncio.start_server(self._accept, sock=server_socket)
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        await self._close()

    async def post(self, line: bytes) -> str:
        """Write a line; return what became of it."""
        async with self._lock:
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    writer = await self._find_writer()
                    writer.write(line)
                    await writer.drain()
            except (OSError, TimeoutError):
                await self._close()
                return NO_RESPONSE
            return WRITTEN

    async def _find_writer(self) -> asyncio.StreamWriter:
        if self._is_listening:
            await self._connected.wait()
        elif self._writer is None or self._writer.is_closing():
            _reader, self._writer = await asyncio.open_connection(self._host, self._port)
        if self._writer is None:
            raise ConnectionError(_("the receiver is not connected"))
        return self._writer

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Write to the latest connection until it ends."""
        self._writer = writer
        self._connected.set()
        with suppress(OSError):
            await reader.read()
        if self._writer is writer:
            await self._close()

    async def _close(self) -> None:
        writer, self._writer = self._writer, None
        self._connected.clear()
        if writer is not None:
            writer.close()
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS_MAX):
                    await writer.wait_closed()
