"""Event loop of one destination, for client libraries that connect by themselves, also to what a server names.

Invariants: each TCP connection of the loop is made through the SSRF guard: the name is looked up, each address is
checked before its socket exists, and TLS is verified against the name. What an attempt receives is limited.
The loop has a thread of its own, so a library
that hangs delays no other destination; the tasks and connections that a library leaves behind end with the thread.
"""

import asyncio
import concurrent.futures
import logging
import socket
import ssl as tls
import threading
from collections.abc import Callable, Coroutine
from ipaddress import ip_address
from typing import Any, TypeVar

from onhook.delivery.guarded_connection import connect_host
from onhook.delivery.limited_socket import LimitedSocket, ReceivedBytes
from onhook.delivery.ssrf_guard import SsrfGuard
from onhook.lib.hosts import UrlHost, parse_host
from onhook.lib.messages import _

CLOSE_SECONDS_MAX = 5.0
"""Wait for the end of a thread whose connections are closed: milliseconds, unless a library ignores it."""

FAILURE_PAUSE_SECONDS = 0.1
"""After a failed connection: libraries that try again at once would use a whole processor."""

ResultT = TypeVar("ResultT")
ProtocolT = TypeVar("ProtocolT", bound=asyncio.BaseProtocol)

_logger = logging.getLogger(__name__)


class GuardedEventLoop(asyncio.SelectorEventLoop):
    """Event loop that connects to allowed addresses only, and receives a limited number of bytes in an attempt."""

    def __init__(self, guard: SsrfGuard) -> None:
        super().__init__()
        self.received = ReceivedBytes()
        self._connection_error: OSError | None = None
        self._ssrf_guard = guard
        self._open_transports: list[asyncio.Transport] = []

    @property
    def connection_error(self) -> OSError | None:
        """Return why the newest connection failed, or was ended because too much came; None where it did not."""
        return self.received.error or self._connection_error

    async def create_connection(  # type: ignore[override] # what else a library may pass is an error
        self,
        protocol_factory: Callable[[], ProtocolT],
        host: str,
        port: int,
        *,
        ssl: tls.SSLContext | None = None,
        server_hostname: str | None = None,
    ) -> tuple[asyncio.Transport, ProtocolT]:
        """Connect like the method of every loop. Raises `OSError`: `PermissionError` for an address that is not
        allowed.
        """
        try:
            connected_socket = await connect_host(_parse_host(host), port, self._ssrf_guard)
            limited_socket = LimitedSocket.take_over(connected_socket, self.received)
            tls_name = (server_hostname or host) if ssl else None
            transport, protocol = await super().create_connection(
                protocol_factory, sock=limited_socket, ssl=ssl, server_hostname=tls_name
            )
        except OSError as error:
            self._connection_error = error
            await asyncio.sleep(FAILURE_PAUSE_SECONDS)
            raise
        self._connection_error = None
        self._open_transports = [item for item in self._open_transports if not item.is_closing()] + [transport]
        return transport, protocol

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Connect a socket that a library made by itself. Raises `PermissionError`."""
        self._ssrf_guard.require_allowed(ip_address(address[0].partition("%")[0]))
        await super().sock_connect(sock, address)

    def abort_connections(self) -> None:
        """Close all connections at once."""
        for transport in self._open_transports:
            transport.abort()
        self._open_transports.clear()


class LoopThread:
    """Runs coroutines in a thread with a guarded event loop, until it is closed."""

    def __init__(self, name: str, guard: SsrfGuard) -> None:
        self.loop = GuardedEventLoop(guard)
        self.loop.set_exception_handler(_log_background_error)
        self._stop = asyncio.Event()
        self._ended: concurrent.futures.Future[None] = concurrent.futures.Future()
        # A daemon, so that a library that hangs does not keep the process alive.
        threading.Thread(target=self._serve, name=name, daemon=True).start()

    async def run(self, coroutine: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Run a coroutine, an attempt, in the thread; it is cancelled with its caller."""
        self.loop.call_soon_threadsafe(self.loop.received.begin_attempt)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self.loop))

    async def close(self) -> None:
        """Close all connections, cancel all tasks, and end the thread."""
        if not self._ended.done():
            self.loop.call_soon_threadsafe(self._end)
        await asyncio.wait([asyncio.wrap_future(self._ended)], timeout=CLOSE_SECONDS_MAX)

    # In the thread

    def _serve(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
                runner.run(self._wait_for_stop())
        finally:
            self._ended.set_result(None)

    async def _wait_for_stop(self) -> None:
        await self._stop.wait()

    def _end(self) -> None:
        self.loop.abort_connections()
        self._stop.set()


def _parse_host(host: str) -> UrlHost:
    """Return a host that a library connects to. Raises `OSError`."""
    try:
        return parse_host(host)
    except ValueError as error:
        raise OSError(_("{host} is no host", host=repr(host[:80]))) from error


def _log_background_error(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what fails in a task that no attempt waits for: attempts have results of their own."""
    _logger.debug("client library: %s", context.get("message"), exc_info=context.get("exception"))
