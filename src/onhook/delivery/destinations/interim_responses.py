"""Limit of interim responses (status 1xx) before a response: aiohttp reads any number of them without letting another
task run, so that a receiver which sends nothing else would stop this process.
"""

from typing import Any, Self

import aiohttp

from onhook.lib.messages import _

INTERIM_RESPONSES_MAX = 5
"""`100 Continue`, `103 Early Hints`: a server sends one or two."""


class LimitedResponse(aiohttp.ClientResponse):
    """A response after few interim ones."""

    async def start(self, connection: Any) -> Self:
        """Read the response. Raises `ClientConnectionError` after too many interim ones."""
        protocol = connection.protocol
        read, reads_left = protocol.read, INTERIM_RESPONSES_MAX + 1

        async def read_limited() -> Any:
            nonlocal reads_left
            if not reads_left:
                raise aiohttp.ClientConnectionError(
                    _("more than {limit} interim responses", limit=INTERIM_RESPONSES_MAX)
                )
            reads_left -= 1
            return await read()

        protocol.read = read_limited
        try:
            await super().start(connection)
        finally:
            del protocol.read  # the connection may be used again
        return self
