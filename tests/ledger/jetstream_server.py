"""A real NATS server with JetStream: a process in a folder, on ports of the loopback."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from onhook.ledger.contract import AppendResult, LedgerEntry
from onhook.ledger.jetstream import JetStreamLedger
from onhook.ledger.jetstream_address import parse_jetstream_address
from onhook.ledger.jetstream_client import JetStreamClient
from onhook.ledger.jetstream_streams import create_streams
from onhook.lib.errors import OnhookError, Unavailable
from tests.delivery.destinations.broker_servers import ServerProcess, find_program, free_port

SERVER = find_program("nats-server")
CALL_SECONDS = 300.0
"""Deadline of a call on a machine that other tests use too."""

CONFIGURATION = """
listen: "{host}:{port}"
http: "{host}:{monitor_port}"
max_payload: {payload_bytes}
jetstream {{ store_dir: "{folder}/streams", sync_interval: {sync_interval} }}
authorization {{ users: [{{ user: "onhook", password: "{password}" }}] }}
{more}
"""
PASSWORD = "a/b@c:d"
QUOTED_PASSWORD = "a%2Fb%40c%3Ad"


class JetStreamServer:
    """A server that can be stopped, killed and started again."""

    def __init__(
        self,
        folder: Path,
        *,
        sync_interval: str = "always",
        payload_bytes: int = 33_554_432,
        host: str = "127.0.0.1",
        ports: tuple[int, int] | None = None,
        more: str = "",
    ) -> None:
        """`ports` are that of the server and that of its settings; without, both are free ones."""
        port, self.monitor_port = ports or (free_port(), free_port())
        self.process = ServerProcess(folder, port, host=host)
        self._write_configuration = partial(
            self._write,
            host=host,
            port=port,
            monitor_port=self.monitor_port,
            folder=folder,
            password=PASSWORD,
            payload_bytes=payload_bytes,
            more=more,
        )
        self.set_sync_interval(sync_interval)

    def set_sync_interval(self, sync_interval: str) -> None:
        """Write the configuration of the next start."""
        self._write_configuration(sync_interval=sync_interval)

    def _write(self, **values: object) -> None:
        (self.process.folder / "nats.conf").write_text(CONFIGURATION.format(**values))

    def start(self) -> None:
        self.process.start(SERVER, "-c", str(self.process.folder / "nats.conf"))

    def kill(self) -> None:
        """End the process as a crash does."""
        self.process.stop(signal.SIGKILL)

    def url(self, stream: str, options: str = "replicas=1") -> str:
        """Return the address of a ledger."""
        return f"nats://onhook:{QUOTED_PASSWORD}@127.0.0.1:{self.process.port}/{stream}?{options}"

    def checked_url(self, stream: str) -> str:
        """Return the address with the port on which the server shows that it writes to disk."""
        return self.url(stream, f"replicas=1&monitor={self.monitor_port}")

    async def create_ledger(self, stream: str, after_seq: int = 0) -> JetStreamLedger:
        """Create the streams of a ledger and open it."""
        await create_ledger_streams(self.url(stream), after_seq)
        return JetStreamLedger(self.url(stream), call_seconds=CALL_SECONDS)


async def create_ledger_streams(url: str, after_seq: int = 0, *, call_seconds: float = CALL_SECONDS) -> None:
    """Create the streams of a ledger."""
    client = JetStreamClient(parse_jetstream_address(url), call_seconds=call_seconds)
    try:
        await create_streams(client, after_seq)
    finally:
        await client.close()


async def append_until_acknowledged(
    ledger: JetStreamLedger, *items: LedgerEntry, ignored: type[OnhookError] = Unavailable
) -> list[AppendResult]:
    """Append entries again and again, as PBXs do, until all are stored."""
    while True:
        try:
            results = await ledger.append(items)
        except ignored:
            await asyncio.sleep(0.05)
            continue
        if all(result.outcome != "unavailable" for result in results):
            return results


class JetStreamCluster:
    """Three servers, each with an address of the loopback of its own."""

    hosts = ("127.0.0.1", "127.0.0.2", "127.0.0.3")

    def __init__(self, folder: Path) -> None:
        ports = free_port(), free_port()
        cluster_port = free_port()
        routes = ", ".join(f'"nats-route://{host}:{cluster_port}"' for host in self.hosts)
        self._ports = ports
        self.servers: list[JetStreamServer] = []
        for number, host in enumerate(self.hosts, 1):
            (folder / str(number)).mkdir()
            more = f'server_name: n{number}\ncluster {{ name: c, listen: "{host}:{cluster_port}", routes: [{routes}] }}'
            self.servers.append(JetStreamServer(folder / str(number), host=host, ports=ports, more=more))

    @property
    def url(self) -> str:
        """Return the address of a ledger with three replicas."""
        port, monitor_port = self._ports
        servers = ",".join(f"{host}:{port}" for host in self.hosts)
        return f"nats://onhook:{QUOTED_PASSWORD}@{servers}/LEDGER?monitor={monitor_port}"

    def stop(self) -> None:
        for server in self.servers:
            server.process.stop()


PROXY_BUFFER_BYTES = 65_536


@asynccontextmanager
async def running_stalling_proxy(target_port: int, *, bytes_max: int) -> AsyncIterator[int]:
    """Yield the port of a proxy that passes on so many bytes of each connection to a server, and then stands still: it
    reads nothing, and nothing ends.
    """
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PROXY_BUFFER_BYTES)
    listener.bind(("127.0.0.1", 0))
    tasks: set[asyncio.Task[None]] = set()
    writers: list[asyncio.StreamWriter] = []

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        byte_count = 0
        while data := await reader.read(PROXY_BUFFER_BYTES):
            byte_count += len(data)
            if byte_count > bytes_max:
                await asyncio.Event().wait()
            writer.write(data)
            await writer.drain()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target_reader, target_writer = await asyncio.open_connection("127.0.0.1", target_port)
        writers.extend((writer, target_writer))
        tasks.update(
            (asyncio.create_task(copy(reader, target_writer)), asyncio.create_task(copy(target_reader, writer)))
        )

    server = await asyncio.start_server(accept, sock=listener, limit=PROXY_BUFFER_BYTES)
    try:
        yield listener.getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()
        await server.wait_closed()
