"""Real brokers, where they are installed: processes in temporary folders, on ports of the loopback; and readers."""

import asyncio
import contextlib
import json
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

USER = "onhook"
START_SECONDS_MAX = 120.0
"""RabbitMQ takes seconds on an idle machine."""

PAUSE_SECONDS = 0.02

ResultT = TypeVar("ResultT")


class ReceivedMessage(NamedTuple):
    """What a reader got: the name under which it came, its key, if the broker has keys, headers, and body."""

    name: str
    headers: Mapping[str, str]
    body: bytes
    key: str = ""


def read_durations(messages: Sequence[ReceivedMessage]) -> dict[str, int]:
    """Return the talk durations by call, without tests; of updates the newest one."""
    bodies = [json.loads(message.body) for message in messages if "onhook-test" not in message.headers]
    return {body["call_id"]: body["talk_duration"] for body in bodies if "call_id" in body}


def find_program(name: str) -> str:
    """Return the path of a server: of a package beside Python, or of the system; empty where there is none."""
    return shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name) or ""


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port: int = listener.getsockname()[1]
        return port


class ServerProcess:
    """A server that can be stopped and started again, with the same port and folder."""

    def __init__(
        self, folder: Path, port: int, environment: Mapping[str, str] | None = None, *, host: str = "127.0.0.1"
    ) -> None:
        self.folder = folder
        self.host = host
        self.port = port
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        return self._process is not None

    def start(self, *command: str) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                socket.create_connection((self.host, self.port), timeout=1).close()
                return
            except OSError:
                log_text = (self.folder / "log").read_text(errors="replace")[-2_000:]
                assert time.monotonic() < deadline, f"{command[0]} does not start: {log_text}"
                assert self._process.poll() is None, f"{command[0]} has ended: {log_text}"
                time.sleep(PAUSE_SECONDS)

    def stop(self, signal_number: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(signal_number)
            self._process.wait(30)
            self._process = None


class ReaderThread:
    """Runs a reader again and again until it is stopped: each time it ends, the connection was lost."""

    def __init__(self, read: Callable[[], Coroutine[Any, Any, None]], errors: tuple[type[Exception], ...]) -> None:
        self._read = read
        self._errors = errors
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(lambda: self._task and self._task.cancel())
        self._thread.join()

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner, contextlib.suppress(asyncio.CancelledError):
            runner.run(self._repeat())

    async def _repeat(self) -> None:
        self._task = asyncio.current_task()
        while True:
            with contextlib.suppress(OSError, EOFError, *self._errors):
                await self._read()
            await asyncio.sleep(PAUSE_SECONDS)


class PortForwarder:
    """A port in front of a server that takes long to start: it can be closed, with all its connections."""

    def __init__(self, target_port: int, host: str = "127.0.0.1") -> None:
        self._host = host
        self.port = free_port()
        self.target_port = target_port
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.open()

    def open(self) -> None:
        self._run(self._open())

    def shut(self) -> None:
        self._run(self._shut())

    def stop(self) -> None:
        self.shut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _open(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._forward, self._host, self.port)

    async def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._writers:
            writer.transport.abort()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target_writer: asyncio.StreamWriter | None = None
        try:
            target_reader, target_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
            self._writers |= {writer, target_writer}
            await asyncio.gather(_copy(reader, target_writer), _copy(target_reader, writer))
        except OSError:
            pass
        finally:
            for item in (writer, target_writer):
                if item is not None:
                    item.transport.abort()
                    self._writers.discard(item)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.transport.abort()


def run_elsewhere(coroutine: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Run a coroutine in a thread with a loop of its own, and wait."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(asyncio.run, coroutine).result()


def unverified_context() -> ssl.SSLContext:
    """Return the context of a reader, which takes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
