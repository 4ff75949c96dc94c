"""The connection of the client library, which waits for ever for a server that reads nothing any longer: a machine that
stands still or is cut off, while more is to be sent than the system buffers.
"""

import asyncio
from contextlib import suppress

import nats.aio.client
import nats.errors

CLOSE_SECONDS_MAX = 1.0


class Connection(nats.aio.client.Client):
    """Client that gives up what a lost server did not read, and logs in over TLS where that is required: the library
    would log in without, at a server that does not ask for TLS.
    """

    def __init__(self, *, requires_tls: bool) -> None:
        super().__init__()
        self._requires_tls = requires_tls

    @property
    def has_unanswered_ping(self) -> bool:
        """Return whether the server has not answered the last ping yet."""
        return self._pings_outstanding > 0

    def abort(self) -> None:
        """End the connection to the server, so that the next one is tried."""
        writer = getattr(self._transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()

    async def close_in_time(self) -> None:
        """Close the connection; what a server does not read within a second is given up."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS_MAX):
                await self.close()
        self.abort()

    async def _attempt_reconnect(self) -> None:
        self.abort()
        await super()._attempt_reconnect()

    def _connect_command(self) -> bytes:
        if self._requires_tls and not self._server_info.get("tls_required"):
            raise nats.errors.SecureConnWantedError
        return super()._connect_command()
