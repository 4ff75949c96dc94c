"""The live feed of a running server, read by `--follow`: calls as they end, each once its legs have arrived."""

import asyncio
import http.client
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager

import msgspec

QUIET_SECONDS = 1.0
"""The legs of a call arrive within a second of its end."""

ROWS_MAX = 10_000
"""Records that wait to be printed; a reader that is further behind is disconnected by the server."""

OpenFeed = Callable[[str], AbstractContextManager[http.client.HTTPResponse]]
"""Opens the feed after a number; after an empty text with the next record."""


class _FeedRecord(msgspec.Struct, frozen=True):
    """Which call a record belongs to."""

    sn: str
    call_id: str


async def follow_calls(open_feed: OpenFeed) -> AsyncIterator[tuple[str, str]]:
    """Yield serial number and id of each call that has new records, until cancelled. Raises what the feed raises."""
    queue: asyncio.Queue[_FeedRecord | Exception] = asyncio.Queue(ROWS_MAX)
    loop = asyncio.get_running_loop()

    def put(value: _FeedRecord | Exception) -> None:
        asyncio.run_coroutine_threadsafe(queue.put(value), loop).result()

    # A daemon: it waits in a socket, which nothing but the server ends.
    threading.Thread(target=_read_feed, args=(open_feed, put), name="live feed", daemon=True).start()
    changed_at: dict[tuple[str, str], float] = {}
    while True:
        value = await _get_within(queue, QUIET_SECONDS / 2)
        if isinstance(value, Exception):
            raise value
        if value is not None:
            changed_at[value.sn, value.call_id] = loop.time()
        for call_key in [key for key, time in changed_at.items() if loop.time() - time >= QUIET_SECONDS]:
            del changed_at[call_key]
            yield call_key


async def _get_within(queue: asyncio.Queue[_FeedRecord | Exception], seconds: float) -> _FeedRecord | Exception | None:
    """Return the next value of the queue; None where there is none in time."""
    try:
        async with asyncio.timeout(seconds):
            return await queue.get()
    except TimeoutError:
        return None


def _read_feed(open_feed: OpenFeed, put: Callable[[_FeedRecord | Exception], None]) -> None:
    """Read the feed; open it again where the server ended it, after the last record."""
    last_seq = ""
    try:
        while True:
            with open_feed(last_seq) as response:
                for line in response:
                    name, _colon, value = line.decode().rstrip("\n").partition(": ")
                    if name == "id":
                        last_seq = value
                    elif name == "data":
                        put(msgspec.json.decode(value, type=_FeedRecord))
    except Exception as error:  # noqa: BLE001 - raised by the reader of the queue
        put(error)
