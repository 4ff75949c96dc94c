"""Connections of kinds that are not HTTP."""

import asyncio
import socket
from contextlib import ExitStack, closing
from ipaddress import ip_address

import pytest

from onhook.delivery import guarded_connection
from onhook.delivery.guarded_connection import connect_guarded
from onhook.delivery.ssrf_guard import SsrfGuard


async def test_connect_guarded_name_is_looked_up_and_connected() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
        connection = await connect_guarded(f"postgresql://localhost:{port}/calls", 5432, SsrfGuard(True))
        assert connection.getpeername()[1] == port
        connection.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "169.254.169.254"])
async def test_connect_guarded_private_address_is_refused(host: str) -> None:
    with pytest.raises(PermissionError, match=r"private address"):
        await connect_guarded(f"syslog://{host}/", 9, SsrfGuard(False))


async def test_connect_guarded_name_without_an_address_is_an_error() -> None:
    with pytest.raises(OSError, match=r"nothing\.invalid has no address"):
        await connect_guarded("syslog://nothing.invalid/", 9, SsrfGuard(True))


async def test_connect_guarded_address_that_does_not_answer_is_not_the_only_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where a host has IPv6, and the way there has not: its packets are dropped, like those to a full listener."""

    async def list_addresses(_host: object) -> object:
        return [ip_address("127.0.0.9"), ip_address("127.0.0.1")]

    monkeypatch.setattr(guarded_connection, "_list_addresses", list_addresses)
    with ExitStack() as stack:
        listener = stack.enter_context(closing(socket.create_server(("127.0.0.1", 0))))
        port = listener.getsockname()[1]
        full_listener = stack.enter_context(closing(socket.create_server(("127.0.0.9", port), backlog=0)))
        for _ in range(3):
            waiting = stack.enter_context(closing(socket.socket()))
            waiting.setblocking(False)
            waiting.connect_ex(full_listener.getsockname())
        async with asyncio.timeout(10):
            connection = await connect_guarded(f"redis://db.example.com:{port}", 1, SsrfGuard(True))
        assert connection.getpeername()[0] == "127.0.0.1"
        connection.close()


async def test_connect_guarded_address_that_is_private_beside_others_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def list_addresses(_host: object) -> object:
        return [ip_address("192.88.99.1"), ip_address("127.0.0.1")]

    monkeypatch.setattr(guarded_connection, "_list_addresses", list_addresses)
    with pytest.raises(PermissionError, match=r"192\.88\.99\.1 is a private address"):
        await connect_guarded("redis://db.example.com:9", 1, SsrfGuard(True))
