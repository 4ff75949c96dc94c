"""The thread of a client library that blocks."""

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from onhook.delivery.destinations.socket_thread import SocketThread


class Connection:
    """What a function has while it fails."""


@pytest.fixture
def thread() -> Iterator[SocketThread]:
    opened = SocketThread("test")
    yield opened
    opened.close()


@pytest.fixture
def _no_collection() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_collection")
async def test_thread_function_that_fails_leaves_nothing_open(thread: SocketThread) -> None:
    """Its connection is closed when the error is handled, not when Python next looks for cycles."""
    references = []

    def fail() -> None:
        connection = Connection()
        references.append(weakref.ref(connection))
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError) as caught:
        await thread.run(fail)
    del caught
    await asyncio.sleep(0.05)  # the thread forgets it too
    assert [reference() for reference in references] == [None]
