"""Thread of one destination for a client library that blocks, and the one socket that it uses.

Invariants: the socket is connected through the SSRF guard, and receives a limited number of bytes in an attempt.
A destination has a thread of its own, so that one that
hangs delays no other; a function that is cancelled ends at once, because its connection is shut down.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from onhook.delivery.guarded_connection import connect_guarded
from onhook.delivery.limited_socket import LimitedSocket, ReceivedBytes
from onhook.delivery.ssrf_guard import SsrfGuard

ResultT = TypeVar("ResultT")


class SocketThread:
    """Runs functions one after the other."""

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        # A duplicate: the library may wrap and close the other one.
        self._socket: socket.socket | None = None
        self._received = ReceivedBytes()

    async def connect(self, url: str, default_port: int, guard: SsrfGuard, timeout_seconds: float) -> socket.socket:
        """Return a connected, blocking socket, which the caller closes; each of its operations has a time-out. Raises
        `OSError`.
        """
        self.disconnect()
        connected_socket = await connect_guarded(url, default_port, guard)
        connected_socket.settimeout(timeout_seconds)
        self._socket = connected_socket.dup()
        return LimitedSocket.take_over(connected_socket, self._received)

    async def run(self, function: Callable[[], ResultT]) -> ResultT:
        """Run a function, an attempt or a login, in the thread."""
        self._received.begin_attempt()
        future = asyncio.get_running_loop().run_in_executor(self._thread, function)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            self.disconnect()
            await asyncio.wait([future])
            future.exception()  # the lost connection
            raise
        finally:
            # The error has this frame, and the future the error: without the cycle its connections are closed at once.
            del future

    def disconnect(self) -> None:
        """Shut the socket down, also under a function that waits for it."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
            self._socket = None

    def close(self) -> None:
        """Disconnect, and end the thread."""
        self.disconnect()
        self._thread.shutdown(wait=False)
