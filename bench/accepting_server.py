"""An application that accepts every event at once, in a process of its own, as fast as this machine allows.

`python -m bench.accepting_server` prints its port and answers until its standard input ends.
"""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from typing import cast

import httptools
import uvloop

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class AcceptingProtocol(asyncio.Protocol):
    """Reads requests, forgets them, answers."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._transport.write(ANSWER)


@contextlib.contextmanager
def run_accepting_server() -> Iterator[str]:
    """Run the server; yield its URL."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench.accepting_server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}/calls"
        finally:
            process.stdin.close()


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(AcceptingProtocol, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    uvloop.run(_serve())
