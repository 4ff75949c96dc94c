"""Listening sockets: addresses, and errors that name the option."""

import socket
from pathlib import Path

import pytest

from onhook.lib.errors import UsageError
from onhook.lib.sockets import listening_socket, passed_socket


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


def test_passed_socket_accepts_connections_and_leaves_the_parents_open() -> None:
    with listening_socket("127.0.0.1", 0, backlog=1, option="intake") as parent:
        passed_socket(parent.fileno()).close()
        with passed_socket(parent.fileno()) as server_socket:
            assert server_socket.getsockname() == parent.getsockname()
            with socket.create_connection(parent.getsockname(), timeout=5):
                server_socket.setblocking(True)
                server_socket.accept()[0].close()


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_passed_socket_that_does_not_listen_is_refused(kind: socket.SocketKind) -> None:
    with (
        socket.socket(socket.AF_INET, kind) as other,
        pytest.raises(UsageError, match="cannot use the socket that the service manager has passed"),
    ):
        passed_socket(other.fileno())


def test_passed_socket_of_another_family_or_none_is_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(str(tmp_path / "socket"))
        other.listen()
        with pytest.raises(UsageError, match="does not listen on TCP"):
            passed_socket(other.fileno())
    with (tmp_path / "file").open("w") as file, pytest.raises(UsageError, match="Socket operation on non-socket"):
        passed_socket(file.fileno())
