"""Connections of kinds that are not HTTP."""

import socket
from contextlib import closing

import pytest

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
