"""The console's web server without trusted proxies: no client keeps the others out, and each has its own address.

Clients have different addresses of the loopback network. Each test runs in the event loop of asyncio and in uvloop, as
production does.
"""

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

import pytest

from onhook.config import Address
from onhook.lib.proxies import TrustedProxies
from onhook.runtime import http_server, proxy_relay
from onhook.runtime.http_server import HttpServer

HOST = "127.0.0.1"
OUTSIDER, USER = "127.0.0.2", "127.0.0.3"
CONNECTIONS = 300
"""More than an address may have, and than Granian accepted without a relay."""

BODY_BYTES = 3_000_000
RESETS = 200
READ_BYTES = 32 * 1024
CHUNKS = 12
CHUNK_SECONDS = 0.1

GET = b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n"
SLOW_REQUESTS = {
    "silent": b"",
    "slow header": b"GET / HTTP/1.1\r\nHost:",
    "slow body": b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\na",
    "idle after a request": GET % b"/",
}
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def application(scope: dict[str, Any], receive: Callable[[], Awaitable[dict[str, Any]]], send: Send) -> None:
    """Answer the address of the client, a large body, the size of the request, or a stream."""
    if scope["type"] != "http":
        return
    size, is_complete = 0, False
    while not is_complete:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, is_complete = size + len(message.get("body", b"")), not message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/stream":
        for _ in range(CHUNKS):
            await asyncio.sleep(CHUNK_SECONDS)
            await send({"type": "http.response.body", "body": b":\n\n", "more_body": True})
    bodies = {"/large": bytes(BODY_BYTES), "/upload": b"%d" % size}
    body = bodies.get(scope["path"], b"client " + scope["client"][0].encode())
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def running_server(app: Any = application, trusted_proxies: TrustedProxies | None = None) -> AsyncIterator[int]:
    """Yield the port of a server that runs meanwhile."""
    async with HttpServer(app, Address(HOST, 0), trusted_proxies) as server:
        task = asyncio.create_task(server.run())
        yield server.port
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async with running_server() as server_port:
        yield server_port


async def connect(port: int, client: str = USER) -> Streams:
    return await asyncio.open_connection(HOST, port, local_addr=(client, 0))


async def request(port: int, path: bytes = b"/", client: str = USER) -> bytes:
    """Return the whole response to a request; empty where the connection was refused."""
    reader, writer = await connect(port, client)
    writer.write(b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path)
    response = b""
    with suppress(ConnectionError):
        response = await asyncio.wait_for(reader.read(), timeout=30)
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    return response


async def read_to_end(reader: asyncio.StreamReader) -> bytes:
    """Return what is read until the connection is closed, by whichever side."""
    with suppress(ConnectionError):
        return await asyncio.wait_for(reader.read(), timeout=30)
    return b""


async def close_all(connections: list[Streams]) -> None:
    for _, writer in connections:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def reset(client_socket: socket.socket) -> None:
    """Close a connection by a reset."""
    client_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client_socket.close()


def connect_socket(port: int, client: str = USER) -> socket.socket:
    """Return a connection of a client; the kernel completes it before it is accepted."""
    client_socket = socket.socket()
    client_socket.bind((client, 0))
    client_socket.connect((HOST, port))
    return client_socket


def count_open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_address_of_a_client_is_known(port: int) -> None:
    for client in (USER, OUTSIDER):
        assert (await request(port, client=client)).endswith(b"client %s" % client.encode())


async def test_client_that_resets_its_connection_has_no_other_address() -> None:
    """The relay's own address is that of a trusted proxy: with it the client could name any address."""
    addresses = set()

    async def remember_client(scope: dict[str, Any], _receive: object, send: Send) -> None:
        if scope["type"] != "http":
            return
        addresses.add(scope["client"][0])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async with running_server(remember_client, TrustedProxies([f"{HOST}/32"])) as port:
        for number in range(RESETS):
            client_socket = connect_socket(port, OUTSIDER)
            client_socket.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.66\r\n\r\n")
            # The relay and Granian advance some steps until the reset, in each round some more.
            for _ in range(number % 10):
                await asyncio.sleep(0)
            await asyncio.to_thread(time.sleep, 0.0002 * (number % 10))
            reset(client_socket)
        await request(port)
    assert addresses <= {OUTSIDER, USER}
    assert USER in addresses


async def test_connection_that_is_reset_before_it_is_accepted_is_closed(port: int) -> None:
    """Under uvloop it has no address."""
    errors: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: errors.append(context))
    await request(port)
    file_count = count_open_files()
    for _ in range(RESETS):
        reset(connect_socket(port))
    assert (await request(port)).endswith(b"client %s" % USER.encode())
    async with asyncio.timeout(30):
        while count_open_files() > file_count:  # noqa: ASYNC110 - the relay sets no event
            await asyncio.sleep(0.05)
    assert errors == []


@pytest.mark.parametrize("first_bytes", SLOW_REQUESTS.values(), ids=SLOW_REQUESTS)
async def test_connections_of_an_outsider_keep_no_user_out(port: int, first_bytes: bytes) -> None:
    connections = [await connect(port, OUTSIDER) for _ in range(CONNECTIONS)]
    for _, writer in connections:
        writer.write(first_bytes)
    async with asyncio.timeout(30):
        while await request(port, client=OUTSIDER):  # noqa: ASYNC110 - the relay sets no event
            await asyncio.sleep(0.05)
    assert await request(port)
    await close_all(connections)
    async with asyncio.timeout(30):
        while not await request(port, client=OUTSIDER):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "first_bytes",
    [b"", b"GET / HTTP/1.1\r\nHost:", b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\n", GET % b"/"],
    ids=["silent", "slow header", "slow body", "idle after a request"],
)
async def test_connection_without_progress_ends(port: int, first_bytes: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the client sends a byte now and then."""
    monkeypatch.setattr(proxy_relay, "FIRST_BYTE_SECONDS_MAX", 0.3)
    monkeypatch.setattr(proxy_relay, "IDLE_SECONDS_MAX", 0.3)
    monkeypatch.setattr(proxy_relay, "CHECK_SECONDS", 0.05)
    reader, writer = await connect(port)
    writer.write(first_bytes)
    ended = asyncio.create_task(read_to_end(reader))
    async with asyncio.timeout(30):
        while not ended.done():
            if first_bytes not in (b"", GET % b"/"):
                writer.write(b"a")
            await asyncio.wait([ended], timeout=0.05)
    await close_all([(reader, writer)])


async def test_stream_that_the_server_keeps_alive_stays(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client sends nothing for longer than the limit, as a listener of the live feed."""
    monkeypatch.setattr(proxy_relay, "IDLE_SECONDS_MAX", CHUNKS * CHUNK_SECONDS / 2)
    monkeypatch.setattr(proxy_relay, "CHECK_SECONDS", 0.05)
    response = await request(port, b"/stream")
    assert response.count(b":\n\n") == CHUNKS
    assert b"client" in response


@pytest.mark.parametrize("first_bytes", SLOW_REQUESTS.values(), ids=SLOW_REQUESTS)
async def test_oldest_connection_without_an_open_request_makes_way(
    port: int, first_bytes: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where several addresses together have all connections; one with an open request stays, although it is older."""
    monkeypatch.setattr(proxy_relay, "CONNECTIONS_MAX", 4)
    monkeypatch.setattr(proxy_relay, "FIRST_BYTE_SECONDS_MAX", 60.0)
    monkeypatch.setattr(proxy_relay, "GRACE_SECONDS", 0.2)
    stream = asyncio.create_task(request(port, b"/stream"))
    await asyncio.sleep(CHUNK_SECONDS)
    connections = [await connect(port, f"127.0.0.{number}") for number in range(10, 13)]
    for _, writer in connections:
        writer.write(first_bytes)
    async with asyncio.timeout(30):
        while not await request(port):  # noqa: ASYNC110 - the relay sets no event
            await asyncio.sleep(0.05)
    reading_tasks = [asyncio.create_task(read_to_end(reader)) for reader, _ in connections]
    await asyncio.wait(reading_tasks, return_when=asyncio.FIRST_COMPLETED)
    assert (await stream).count(b":\n\n") == CHUNKS
    await close_all(connections)
    await asyncio.wait(reading_tasks)


async def test_large_bodies_pass_unchanged(port: int) -> None:
    assert len((await request(port, b"/large")).partition(b"\r\n\r\n")[2]) >= BODY_BYTES
    reader, writer = await connect(port)
    writer.write(b"POST /upload HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % BODY_BYTES)
    writer.write(bytes(BODY_BYTES))
    assert b"%d" % BODY_BYTES in await read_to_end(reader)
    await close_all([(reader, writer)])


async def test_requests_on_one_connection_are_answered_in_order(port: int) -> None:
    reader, writer = await connect(port)
    for _ in range(3):
        writer.write(GET % b"/")
        async with asyncio.timeout(30):
            await reader.readuntil(b"client %s" % USER.encode())
    await close_all([(reader, writer)])


async def test_client_that_does_not_read_is_disconnected(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_relay, "IDLE_SECONDS_MAX", 0.3)
    monkeypatch.setattr(proxy_relay, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr(proxy_relay, "CONNECTIONS_OF_ADDRESS_MAX", 1)
    reader, writer = await connect(port, OUTSIDER)
    cast(asyncio.Transport, writer.transport).pause_reading()
    writer.write((GET % b"/large") * 20)
    async with asyncio.timeout(30):
        while not await request(port, client=OUTSIDER):  # noqa: ASYNC110 - the relay sets no event
            await asyncio.sleep(0.05)
    await close_all([(reader, writer)])


async def test_open_response_ends_before_the_server_stops() -> None:
    async with running_server() as port:
        response = asyncio.create_task(request(port, b"/stream"))
        await asyncio.sleep(2 * CHUNK_SECONDS)
    assert (await response).count(b":\n\n") == CHUNKS


async def test_large_response_is_sent_whole_before_the_server_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    """To a client that reads slowly, also after Granian itself has passed on all of it."""
    monkeypatch.setattr(http_server, "STOP_SECONDS_MAX", 30.0)
    body_bytes = 4 * BODY_BYTES
    has_begun = asyncio.Event()

    async def send_large(scope: dict[str, Any], _receive: object, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = [(b"content-length", b"%d" % body_bytes)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        has_begun.set()
        for _ in range(CHUNKS):
            await send({"type": "http.response.body", "body": bytes(body_bytes // CHUNKS), "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def read_slowly(client_socket: socket.socket) -> int:
        loop, size = asyncio.get_running_loop(), 0
        with suppress(ConnectionError):
            while data := await loop.sock_recv(client_socket, READ_BYTES):
                size += len(data)
                await asyncio.sleep(0.002)
        return size

    with socket.socket() as client_socket:
        # Else the kernel would take all of it from the server at once.
        client_socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, READ_BYTES)
        async with running_server(send_large) as port:
            client_socket.connect((HOST, port))
            client_socket.setblocking(False)
            client_socket.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            download = asyncio.create_task(read_slowly(client_socket))
            await has_begun.wait()
        assert await download > body_bytes


async def test_client_that_does_not_read_delays_a_stop_for_a_limited_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "STOP_SECONDS_MAX", 0.5)
    async with asyncio.timeout(30):
        async with running_server() as port:
            client_socket = connect_socket(port)
            client_socket.sendall((GET % b"/large") * 20)
            await asyncio.sleep(CHUNK_SECONDS)
    client_socket.close()


async def test_server_listens_again_on_its_port_after_a_stop() -> None:
    async with HttpServer(application, Address(HOST, 0)) as server:
        for _ in range(2):
            task = asyncio.create_task(server.run())
            async with asyncio.timeout(30):
                while not await _is_answered(server.port):  # noqa: ASYNC110 - the server sets no event
                    await asyncio.sleep(0.05)
            task.cancel()
            await asyncio.wait([task])


async def _is_answered(port: int) -> bool:
    with suppress(OSError):
        return bool(await request(port))
    return False
