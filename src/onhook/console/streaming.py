"""Answers that come in pieces: written as fast as they are read, and cut off when nobody reads."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from litestar.response.base import ASGIResponse
from litestar.types import Receive, Send

SLOW_READER_SECONDS = 30
"""Who takes no piece for so long is gone, or holds a place that others need."""


class Pieces(ASGIResponse):
    """A body in pieces. The generator is always closed, also when the reader goes away."""

    __slots__ = ("first", "pieces")

    _should_set_content_length = False

    def __init__(
        self,
        pieces: AsyncGenerator[bytes, None],
        *,
        media_type: str,
        first: bytes = b"",
        headers: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(media_type=media_type, headers=headers)
        self.first = first
        self.pieces = pieces

    async def send_body(self, send: Send, receive: Receive) -> None:
        """Write until the end, or until the reader has left or takes nothing any more."""
        writing = asyncio.create_task(self._write(send))
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait({writing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (writing, leaving):
                task.cancel()
            # What the writing raised is raised below; a cancelled task has nothing to say.
            await asyncio.gather(writing, leaving, return_exceptions=True)
            await self.pieces.aclose()
        if not writing.cancelled():
            writing.result()

    async def _write(self, send: Send) -> None:
        if not await _is_taken(send, self.first):
            return
        async for piece in self.pieces:
            if not await _is_taken(send, piece):
                return
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _is_taken(send: Send, piece: bytes) -> bool:
    """Whether the reader took the piece in time. Where not, the body is left without its end, so that nobody takes what
    was read for the whole."""
    try:
        async with asyncio.timeout(SLOW_READER_SECONDS):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    except TimeoutError:
        return False
    return True


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
