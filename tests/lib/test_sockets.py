"""Listening sockets: addresses, and errors that name the option."""

import socket

import pytest

from onhook.lib.errors import UsageError
from onhook.lib.sockets import listening_socket


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::"])
def test_listening_socket_accepts_connections(host: str) -> None:
    with listening_socket(host, 0, backlog=1, option="console") as server_socket:
        port = server_socket.getsockname()[1]
        with socket.create_connection(("127.0.0.1" if host == "::" else host, port), timeout=5):
            pass


def test_listening_socket_port_in_use_names_the_option() -> None:
    with listening_socket("127.0.0.1", 0, backlog=1, option="console") as server_socket:
        port = server_socket.getsockname()[1]
        with pytest.raises(UsageError, match=f"127.0.0.1:{port}: the port is in use") as raised:
            listening_socket("127.0.0.1", port, backlog=1, option="console")
    assert "--console" in raised.value.hint


def test_listening_socket_foreign_address_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot listen on 192"):
        listening_socket("192.0.2.1", 0, backlog=1, option="intake")
