"""Streamed responses: written as fast as they are read, and aborted when the reader is too slow or has no access any
longer.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

from onhook.console.auth.access import is_still_authorized
from onhook.lib.errors import OnhookError

SLOW_READER_SECONDS = 30.0
"""A reader that receives nothing for this long has disconnected, or holds a place that others need."""

RATE_BYTES_MIN = 16 * 1024
"""Bytes per second; the slowest connections are faster. The time-out is used up by a slower reader sooner or later: one
that trickles would hold its place for hours.
"""

SENT_BYTES_MAX = 128 * 1024
"""Written at once; a chunk may be far larger, and a slow reader would seem to receive none of it."""


ACCESS_SECONDS = 0.4
"""Interval of the checks of access: a removed token, user or session has no open stream, and no running query, a second
later.
"""


class ChunkedResponse(ASGIResponse):
    """A streamed body. The generator is always closed, also when the reader disconnects."""

    __slots__ = ("chunks", "first_chunk", "request_scope")

    _should_set_content_length = False

    def __init__(
        self,
        chunks: AsyncGenerator[bytes, None],
        *,
        media_type: str,
        first_chunk: bytes = b"",
        headers: dict[str, Any] | None = None,
        status_code: int = 200,
    ) -> None:
        super().__init__(media_type=media_type, headers=headers, status_code=status_code)
        self.first_chunk = first_chunk
        self.chunks = chunks
        self.request_scope: Scope | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response; meanwhile the access of the request is checked."""
        self.request_scope = scope
        await super().__call__(scope, receive, send)

    async def send_body(self, send: Send, receive: Receive) -> None:
        """Write until the end, or until the reader disconnects, no longer receives anything or has no access."""
        write_task = asyncio.create_task(self._write(send))
        tasks = (
            write_task,
            asyncio.create_task(wait_for_disconnect(receive)),
            asyncio.create_task(self._wait_until_rejected()),
        )
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            # An error of writing is raised below; a cancelled task has none.
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.chunks.aclose()
        if not write_task.cancelled():
            write_task.result()

    async def _wait_until_rejected(self) -> None:
        """Return when the request would be rejected now. An error while checking counts as a rejection: the reader
        sends the request again, and is checked anew.
        """
        if self.request_scope is None:
            await asyncio.Event().wait()  # A body that is written without a request has no access to lose.
        else:
            with suppress(OnhookError):
                await wait_for_revocation(self.request_scope)

    async def _write(self, send: Send) -> None:
        slow_reader_timeout = _SlowReaderTimeout()
        try:
            await slow_reader_timeout.send(send, self.first_chunk)
            async for chunk in self.chunks:
                await slow_reader_timeout.send(send, chunk)
        except TimeoutError:
            # The body has no proper end, so that a part is not used as the whole.
            return
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class _SlowReaderTimeout:
    """Time left for a reader: waiting uses it up, reading adds to it, up to the maximum."""

    def __init__(self) -> None:
        self._remaining_seconds = SLOW_READER_SECONDS

    async def send(self, send: Send, chunk: bytes) -> None:
        """Write a chunk. Raises `TimeoutError` when the time is used up; computing the next chunk costs none."""
        for begin in range(0, len(chunk), SENT_BYTES_MAX):
            await self._send(send, chunk[begin : begin + SENT_BYTES_MAX])

    async def _send(self, send: Send, data: bytes) -> None:
        now = asyncio.get_running_loop().time
        started_at = now()
        async with asyncio.timeout(self._remaining_seconds):
            await send({"type": "http.response.body", "body": data, "more_body": True})
        remaining_seconds = self._remaining_seconds - (now() - started_at) + len(data) / RATE_BYTES_MIN
        self._remaining_seconds = min(SLOW_READER_SECONDS, remaining_seconds)


async def wait_for_revocation(scope: Scope) -> None:
    """Return when a request would be rejected now. Raises `Unavailable` where that cannot be found out."""
    while True:
        if not await is_still_authorized(scope):
            return
        await asyncio.sleep(ACCESS_SECONDS)


async def wait_for_disconnect(receive: Receive) -> None:
    """Return when the client of the request has disconnected."""
    while (await receive())["type"] != "http.disconnect":
        pass
