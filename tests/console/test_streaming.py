"""Streamed bodies: a stalled or trickling reader is disconnected, a slow one is served."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from onhook.console import streaming
from onhook.console.streaming import ChunkedResponse


async def stream_to_reader(reader_seconds: float, pieces: int, piece: bytes) -> list[dict[str, Any]]:
    """Return the messages received by a reader that needs this long for each part."""
    messages: list[dict[str, Any]] = []

    async def chunks() -> AsyncGenerator[bytes, None]:
        for _ in range(pieces):
            yield piece

    async def send(event: Any) -> None:
        await asyncio.sleep(reader_seconds)
        messages.append(event)

    async def receive() -> Any:
        await asyncio.Event().wait()

    async with asyncio.timeout(20):
        await ChunkedResponse(chunks(), media_type="text/csv").send_body(send, receive)
    return messages


async def test_streaming_trickling_reader_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part is in time, but the rate is too low: the place is free again, and the body has no proper end."""
    monkeypatch.setattr(streaming, "SLOW_READER_SECONDS", 0.3)
    messages = await stream_to_reader(0.05, 1000, b"few bytes")
    assert 1 <= len(messages) <= 10
    assert all(event["more_body"] for event in messages)


async def test_streaming_slow_reader_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """A piece that takes longer than the time-out is complete if the reader reads fast enough."""
    monkeypatch.setattr(streaming, "SLOW_READER_SECONDS", 0.3)
    monkeypatch.setattr(streaming, "RATE_BYTES_MIN", 1000)
    monkeypatch.setattr(streaming, "SENT_BYTES_MAX", 100)
    messages = await stream_to_reader(0.05, 1, b"x" * 2000)
    assert b"".join(event["body"] for event in messages) == b"x" * 2000
    assert not messages[-1]["more_body"]
