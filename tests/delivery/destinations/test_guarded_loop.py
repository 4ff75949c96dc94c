"""Event loop of client libraries that connect by themselves."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import closing

import pytest

from onhook.delivery.destinations.guarded_loop import LoopThread
from onhook.delivery.ssrf_guard import SsrfGuard


@pytest.fixture
async def open_thread() -> AsyncIterator[LoopThread]:
    """A thread that may connect to this machine."""
    thread = LoopThread("test", SsrfGuard(allow_private=True))
    yield thread
    await thread.close()


@pytest.fixture
async def guarded_thread() -> AsyncIterator[LoopThread]:
    """A thread that may not."""
    thread = LoopThread("test", SsrfGuard(allow_private=False))
    yield thread
    await thread.close()


async def test_guarded_loop_streams_are_connected_by_name(open_thread: LoopThread) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
        _reader, writer = await open_thread.run(asyncio.open_connection("localhost", port))
        assert writer.get_extra_info("peername") == ("127.0.0.1", port)
        assert open_thread.loop.connection_error is None
        open_thread.loop.call_soon_threadsafe(writer.close)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.1", "169.254.169.254"])
async def test_guarded_loop_private_address_is_refused(guarded_thread: LoopThread, host: str) -> None:
    with pytest.raises(PermissionError, match="private address"):
        await guarded_thread.run(asyncio.open_connection(host, 9))
    assert isinstance(guarded_thread.loop.connection_error, PermissionError)


async def test_guarded_loop_socket_of_a_library_is_refused(guarded_thread: LoopThread) -> None:
    with closing(socket.socket()) as own_socket:
        own_socket.setblocking(False)
        with pytest.raises(PermissionError, match="private address"):
            await guarded_thread.run(guarded_thread.loop.sock_connect(own_socket, ("127.0.0.1", 9)))


async def test_guarded_loop_host_that_is_none_is_an_error(open_thread: LoopThread) -> None:
    with pytest.raises(OSError, match="is no host"):
        await open_thread.run(asyncio.open_connection("a b", 9))


async def test_guarded_loop_end_closes_what_a_library_leaves_behind() -> None:
    """Connections and tasks, also one that waits for ever."""
    thread = LoopThread("test", SsrfGuard(allow_private=True))
    cancelled = asyncio.Event()
    main_loop = asyncio.get_running_loop()

    async def leave_task() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            main_loop.call_soon_threadsafe(cancelled.set)

    left: list[object] = []

    async def leave_behind(port: int) -> None:
        left.append(await asyncio.open_connection("127.0.0.1", port))
        left.append(asyncio.create_task(leave_task()))
        await asyncio.sleep(0)

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        await thread.run(leave_behind(listener.getsockname()[1]))
        connection, _address = listener.accept()
        await thread.close()
        async with asyncio.timeout(10):
            await cancelled.wait()
        with closing(connection):
            connection.settimeout(10)
            with contextlib.suppress(ConnectionResetError):  # closed as well
                assert connection.recv(1) == b""
    assert thread.loop.is_closed()
