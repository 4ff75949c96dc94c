"""Sockets that receive no more than an attempt may need: client libraries read as many bytes as a server announces.

Invariant: what is received in an attempt is counted before a library gets it, also behind TLS of a library that blocks.
"""

import socket
import ssl
from typing import Any, Final

from onhook.lib.messages import _

RECEIVED_BYTES_MAX: Final = 16 * 1024 * 1024
"""In one attempt: confirmations of a batch, or the topics of a large cluster, are a thousandth and a tenth of it."""


class ReceivedBytes:
    """Counts the received bytes of an attempt, over all its connections; `error` is set once there are too many."""

    def __init__(self) -> None:
        self.error: OSError | None = None
        self._count = 0

    def begin_attempt(self) -> None:
        """Count from 0."""
        self.error, self._count = None, 0

    def add(self, count: int) -> None:
        """Count received bytes. Raises `OSError` where there are too many."""
        self._count += count
        if self._count > RECEIVED_BYTES_MAX:
            self.error = OSError(_("the other side has sent more than {size:,} bytes", size=RECEIVED_BYTES_MAX))
            raise self.error


class LimitedSocket(socket.socket):
    """A connected socket that adds what it receives to `received`."""

    received: ReceivedBytes

    @classmethod
    def take_over(cls, connected_socket: socket.socket, received: ReceivedBytes) -> "LimitedSocket":
        """Return the socket that takes the place of a connected one."""
        timeout = connected_socket.gettimeout()
        family, kind, protocol = connected_socket.family, connected_socket.type, connected_socket.proto
        limited_socket = cls(family, kind, protocol, fileno=connected_socket.detach())
        limited_socket.settimeout(timeout)
        limited_socket.received = received
        return limited_socket

    def recv(self, *arguments: Any) -> bytes:
        data = super().recv(*arguments)
        self.received.add(len(data))
        return data

    def recv_into(self, *arguments: Any) -> int:
        count = super().recv_into(*arguments)
        self.received.add(count)
        return count


def limit_tls(context: ssl.SSLContext, connected_socket: socket.socket) -> ssl.SSLContext:
    """Return the context of a connection, which counts what is received: TLS takes the place of the socket."""
    assert isinstance(connected_socket, LimitedSocket)
    received = connected_socket.received

    class LimitedTlsSocket(ssl.SSLSocket):
        def read(self, *arguments: Any) -> Any:
            data: int | bytes = super().read(*arguments)
            received.add(data if isinstance(data, int) else len(data))
            return data

    context.sslsocket_class = LimitedTlsSocket
    return context
