"""The web server of the hub: Granian inside our event loop, on a socket that we have opened ourselves."""

import asyncio
import errno
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from granian._granian import SocketHolder
from granian.constants import Interfaces
from granian.server.embed import Server

from onhook.config import Address
from onhook.lib.errors import UsageError

BACKLOG = 256
"""Connections that the kernel holds until they are accepted: people and their programs, not PBXs."""

STOP_SECONDS_MAX = 5.0
"""Open answers, such as an export, are waited for so long; then they are cut off."""


class Serving(msgspec.Struct, frozen=True):
    """A web server that runs: its port, and the task in which it runs."""

    port: int
    task: asyncio.Task[None]


class _OnOurSocket(Server):
    """Granian opens its socket with SO_REUSEPORT, so that two servers would silently share a port, and does not tell
    which port it got for 0. With a socket of ours a taken port is an error, and the port is known."""

    def __init__(self, app: Any, listening: socket.socket) -> None:
        super().__init__(app, interface=Interfaces.ASGI, log_enabled=False, websockets=False)
        self._listening = listening

    def _init_shared_socket(self) -> None:
        # Granian closes the descriptor that it is given.
        held: Any = SocketHolder
        self._shd = held(self._listening.detach(), False, BACKLOG)
        self._ssp = None


@asynccontextmanager
async def serving(app: Any, address: Address) -> AsyncIterator[Serving]:
    """Serve an ASGI application. Raises `UsageError` where the address cannot be listened on."""
    listening = _listen(address)
    port = int(listening.getsockname()[1])
    server = _OnOurSocket(app, listening)
    task = asyncio.create_task(server.serve(), name="console")
    try:
        yield Serving(port, task)
    finally:
        server.stop()  # type: ignore[no-untyped-call] # as granian writes it
        _, late = await asyncio.wait([task], timeout=STOP_SECONDS_MAX)
        for one in late:
            logging.getLogger("console").warning("answers that took too long were cut off")
            one.cancel()


def _listen(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        # `[::]` means IPv4 too, as everywhere else.
        both = address.host == "::"
        listening = socket.create_server(
            (address.host, address.port), family=family, backlog=BACKLOG, dualstack_ipv6=both
        )
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        raise UsageError(
            f"cannot listen on {address}: {'another program does' if taken else error.strerror or error}",
            where="console",
            todo="stop that program, or choose another address with --console" if taken else "choose another address",
        ) from error
    listening.setblocking(False)
    return listening
