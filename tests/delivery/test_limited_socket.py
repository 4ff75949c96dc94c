"""Servers that send without end: what an attempt receives is limited, whatever the client library."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from onhook.delivery import limited_socket
from onhook.delivery.destinations.contract import Notification
from onhook.delivery.destinations.socket_thread import SocketThread
from onhook.delivery.limited_socket import limit_tls
from onhook.delivery.ssrf_guard import SsrfGuard
from onhook.lib.certificates import create_trust
from tests.delivery.destinations.contract import open_client
from tests.delivery.harness import SECRET
from tests.server_certificates import create_server_certificate

LIMIT = 1024 * 1024
BUFFERS = 16 * 1024 * 1024
"""What the system takes for a connection that is not read."""

SEND_SECONDS_MAX = 20.0
SENT_MAX = 200 * 1024 * 1024
CHUNK = b"a" * 65_536


class EndlessServer:
    """Answers each connection with a beginning, and then with bytes until the connection ends; `sent` counts them."""

    def __init__(self, beginning: bytes, wrap: Callable[[socket.socket], socket.socket]) -> None:
        self.sent = 0
        self._beginning = beginning
        self._wrap = wrap
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                connection, _address = self._listener.accept()
            except OSError:
                return
            connection.settimeout(SEND_SECONDS_MAX)
            with suppress(OSError), connection, self._wrap(connection) as peer:
                peer.sendall(self._beginning)
                while self.sent < SENT_MAX:
                    peer.sendall(CHUNK)
                    self.sent += len(CHUNK)


@contextmanager
def run_server(
    beginning: bytes, wrap: Callable[[socket.socket], socket.socket] = lambda connection: connection
) -> Iterator[EndlessServer]:
    server = EndlessServer(beginning, wrap)
    try:
        yield server
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("kind", "beginning", "fields"),
    [
        ("amqp", b"\x01\x00\x00\xf0\x00\x00\x00", {}),
        ("redis", b"$400000000\r\n", {}),
        ("kafka", b"\x7f\xff\xff\xff", {}),
        ("nats", b'INFO {"max_payload": 1048576, "headers": true}\r\nPONG\r\nMSG x 1 400000000\r\n', {}),
        ("mqtt", b"\x30\xff\xff\xff\x7f", {}),
        ("postgresql", b"E\x7f\xff\xff\xff", {"tls": "off"}),
        ("mysql", b"\xff\xff\xff\x00", {"tls": "off"}),
    ],
)
async def test_answer_of_announced_length_is_limited(
    kind: str, beginning: bytes, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limited_socket, "RECEIVED_BYTES_MAX", LIMIT)
    with run_server(beginning) as server:
        is_database = kind in ("postgresql", "mysql")
        url = f"{kind}://{'onhook@' if is_database else ''}127.0.0.1:{server.port}{'/calls' if is_database else ''}"
        client = open_client({"kind": kind, "url": url, "allow_private": True, "fields": fields}, SECRET)
        try:
            body = client.format_test_payload()
            (result,) = await client.send([Notification("test-1", body, 0, is_test=True)])
        finally:
            await client.close()
        assert result.outcome == "unreachable"
        assert server.sent < LIMIT + BUFFERS


async def test_answer_behind_tls_is_limited_in_each_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limited_socket, "RECEIVED_BYTES_MAX", LIMIT)
    certificate = create_server_certificate(tmp_path, "localhost")
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    thread = SocketThread("test")

    def receive(connection: socket.socket, count: int) -> None:
        while count > 0:
            count -= len(connection.recv(65_536))

    with run_server(b"", partial(server_context.wrap_socket, server_side=True)) as server:
        connected = await thread.connect(f"mqtts://127.0.0.1:{server.port}", 1, SsrfGuard(True), 10.0)
        context = limit_tls(create_trust(certificate.authority_pem), connected)
        encrypted = await thread.run(partial(context.wrap_socket, connected, server_hostname="localhost"))
        try:
            for _attempt in range(3):
                await thread.run(partial(receive, encrypted, LIMIT // 2))
            with pytest.raises(OSError, match=r"has sent more than 1,048,576 bytes"):
                await thread.run(partial(receive, encrypted, 2 * LIMIT))
        finally:
            encrypted.close()
            thread.close()
