"""Figures of the PBX API: 1,000 WebSocket readers at 200 events per second, and readers that do not read beside them.

`python -m bench.pbx_api` prints the table. The PBX API runs in a process of its own, over simulated calls; the readers
are in this one. An event contains the time at which it was announced, by the clock that both processes share.
"""

import asyncio
import re
import resource
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import aiohttp
import msgspec
import uvloop

from bench.table import Row, table
from onhook.appdb.api_clients import App
from onhook.cdr.call_details import CallDetails
from onhook.lib.clock import SystemClock
from onhook.pbx_api.certificate import create_tls_context, ensure_certificate
from onhook.pbx_api.connection_limiter import listen
from onhook.pbx_api.logins import MemoryLoginFailures
from onhook.pbx_api.server import PbxApiServer
from onhook.pbx_api.single_app import SingleApp
from onhook.pbx_api.state import create_api_state
from onhook.pbx_api.tokens import MemoryGrants
from onhook.runtime.adapters.simulated_calls import open_simulated_calls

SN = "3651XXXXXXXX"
CLIENT_ID, CLIENT_SECRET = "bench", "0123456789abcdefghijABCDEFGHIJ01"
DRAIN_SECONDS = 3.0
"""After the last event, which is on its way to all readers."""

TIMED_READERS = 100
"""Readers whose every event is timed; for the others events are counted."""

FIRST_NUMBER = 100_000
FILES = 4_096
HEADERS = {"User-Agent": "OpenAPI"}

_ANNOUNCED = re.compile(rb'recording\\":\\"(\d+)')
_MARK = b'"type":30012'


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """Sockets that read, sockets that read nothing, and the events that all of them are sent."""

    readers: int = 1_000
    idlers: int = 10
    events_per_second: int = 200
    seconds: int = 10


class Usage(msgspec.Struct):
    """What the PBX API's process prints at its end."""

    cpu_seconds: float
    wall_seconds: float
    at_rest_kib: int
    peak_kib: int
    sockets: int


def run(load: Load = Load()) -> list[Row]:  # noqa: B008 - frozen
    """Return all figures, without TLS and with it."""
    with tempfile.TemporaryDirectory(prefix="onhook-bench-") as name:
        return [*_measured(Path(name), load, is_plain=True), *_measured(Path(name), load, is_plain=False)]


def _measured(directory: Path, load: Load, *, is_plain: bool) -> list[Row]:
    arguments = ["--serve", str(directory), "ws" if is_plain else "wss", msgspec.json.encode(load).decode()]
    words = [sys.executable, "-m", "bench.pbx_api", *arguments]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as serving:
        assert serving.stdin is not None
        assert serving.stdout is not None
        port = int(serving.stdout.readline())
        tls = None if is_plain else ssl.create_default_context(cafile=directory / "pbx_api.crt")
        counted, delays = uvloop.run(_read(port, tls, serving, load))
        usage = msgspec.json.decode(serving.stdout.read(), type=Usage)
    return _rows("ws" if is_plain else "wss", load, counted, delays, usage)


def _rows(scheme: str, load: Load, counted: int, delays: list[float], usage: Usage) -> list[Row]:
    share = counted / (load.readers * load.events_per_second * load.seconds)
    median, late = statistics.median(delays), statistics.quantiles(delays, n=100)[98]
    subject = f"{load.readers:,} sockets ({scheme}) at {load.events_per_second} events/s"
    return [
        Row(f"{subject}: delivered", f"{share:.2%}", "", "100 %"),
        Row("their delay", f"p50 {median * 1000:.0f} ms, p99 {late * 1000:.0f} ms", "", "p99 500 ms"),
        Row("CPU of the PBX API for that", f"{usage.cpu_seconds / usage.wall_seconds:.0%} of a core", "", "100 %"),
        Row(
            "its memory, at most",
            f"{usage.peak_kib / 1024:.0f} MB, {usage.at_rest_kib / 1024:.0f} MB before",
            "",
            "250 MB",
        ),
        Row(
            "readers that receive nothing",
            f"{load.readers + load.idlers - usage.sockets} of {load.idlers} cut off",
            "",
            "all",
        ),
    ]


# Readers


class _Reader(asyncio.Protocol):
    """A WebSocket without a library: the PBX API is measured, not a client."""

    def __init__(self, token: str, *, is_timed: bool, is_idle: bool) -> None:
        self._token = token
        self._is_timed = is_timed
        self._is_idle = is_idle
        self._tail = b""
        self.counted = 0
        self.delays: list[float] = []
        self.subscribed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        transport.write(  # type: ignore[attr-defined] # a transport of uvloop's
            b"GET /openapi/v1.0/subscribe?access_token=%s HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            % self._token.encode()
        )
        transport.write(_masked(b'{"topic_list":[30012]}'))  # type: ignore[attr-defined]

    def close(self) -> None:
        """Close the connection: a loop is not closed while it has one."""
        self._transport.abort()  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        if not self.subscribed.is_set():
            if b'"errcode":0' in data:
                self.subscribed.set()
                if self._is_idle:
                    self._transport.pause_reading()  # type: ignore[attr-defined]
            return
        data = self._tail + data
        if self._is_timed:
            now = time.monotonic_ns()
            matches = list(_ANNOUNCED.finditer(data))
            self.delays += [(now - int(match[1])) / 1e9 for match in matches]
            self.counted += len(matches)
            cut = matches[-1].end() if matches else 0
            self._tail = data[max(cut, len(data) - 64) :]
        else:
            self.counted += data.count(_MARK)
            self._tail = b"" if data.endswith(_MARK) else data[-len(_MARK) + 1 :]


async def _read(
    port: int, tls: ssl.SSLContext | None, serving: subprocess.Popen[bytes], load: Load
) -> tuple[int, list[float]]:
    """Connect all readers, let the events arrive, count them."""
    _allow_files()
    scheme = "http" if tls is None else "https"
    async with aiohttp.request(
        "POST",
        f"{scheme}://127.0.0.1:{port}/openapi/v1.0/get_token",
        json={"username": CLIENT_ID, "password": CLIENT_SECRET},
        headers=HEADERS,
        ssl=tls or True,
    ) as answer:
        token = str((await answer.json())["access_token"])
    readers = [
        _Reader(token, is_timed=number < TIMED_READERS, is_idle=number >= load.readers)
        for number in range(load.readers + load.idlers)
    ]
    loop = asyncio.get_running_loop()
    for reader in readers:
        await loop.create_connection(lambda reader=reader: reader, "127.0.0.1", port, ssl=tls)
    await asyncio.gather(*(reader.subscribed.wait() for reader in readers))
    assert serving.stdin is not None
    serving.stdin.write(b"go\n")
    serving.stdin.flush()
    await asyncio.sleep(load.seconds + DRAIN_SECONDS)
    serving.stdin.close()
    for reader in readers:
        reader.close()
    await asyncio.sleep(0.1)  # the loop closes them
    awake = readers[: load.readers]
    return sum(reader.counted for reader in awake), [delay for reader in awake for delay in reader.delays]


def _masked(payload: bytes) -> bytes:
    """Return a short text message of a client; the mask of zeros leaves it unchanged."""
    return b"\x81" + (0x80 | len(payload)).to_bytes(1, "big") + bytes(4) + payload


def _allow_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES if hard == resource.RLIM_INFINITY else min(FILES, hard), hard))


# PBX API


async def _serve(directory: Path, load: Load, *, is_plain: bool) -> None:
    """Listen, print the port, announce events when requested, print the cost when standard input ends."""
    clock = SystemClock()
    app = App(name="bench", client_id=CLIENT_ID, created_at=datetime.now(UTC))
    certificate, key = directory / "pbx_api.crt", directory / "pbx_api.key"
    ensure_certificate(certificate, key, "127.0.0.1", clock.now())
    listening = listen("127.0.0.1", 0)
    port = listening.getsockname()[1]
    tls = None if is_plain else create_tls_context(certificate, key)
    async with AsyncExitStack() as stack:
        calls, _task = await stack.enter_async_context(open_simulated_calls(SN, ZoneInfo("UTC"), clock))
        state = create_api_state(
            calls=calls,
            apps=SingleApp(app, CLIENT_SECRET),
            clock=clock,
            grants=MemoryGrants(),
            login_failures=MemoryLoginFailures(),
        )
        pbx_api = PbxApiServer(state)
        await stack.enter_async_context(pbx_api.serve(listening, tls))
        print(port, flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        at_rest, began, worked = _memory_kib("VmRSS"), time.monotonic(), time.process_time()
        for number in range(load.events_per_second * load.seconds):
            await asyncio.sleep(max(0.0, began + number / load.events_per_second - time.monotonic()))
            calls.record_sent(_event(number), b"")
        await asyncio.sleep(1)
        usage = Usage(
            cpu_seconds=time.process_time() - worked,
            wall_seconds=time.monotonic() - began,
            at_rest_kib=at_rest,
            peak_kib=_memory_kib("VmHWM"),
            sockets=pbx_api.state.sockets.count,
        )
        await asyncio.to_thread(sys.stdin.read)
        print(msgspec.json.encode(usage).decode(), flush=True)


def _event(number: int) -> CallDetails:
    return CallDetails(
        call_id=f"1790197458.{FIRST_NUMBER + number}",
        time_start="2026-09-24 00:04:18",
        call_from="5550100",
        call_to="1002",
        call_duration=30,
        talk_duration=20,
        src_trunk_name="Trunk-A",
        status="ANSWERED",
        type="Inbound",
        recording=f"{time.monotonic_ns():020}",
        uid="2026092400041852EE8",
        call_note_id="20260924000418-0FA8E",
        enb_call_note=4,
    )


def _memory_kib(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


if __name__ == "__main__":
    if "--serve" in sys.argv:
        sent_load = msgspec.json.decode(sys.argv[4], type=Load)
        uvloop.run(_serve(Path(sys.argv[2]), sent_load, is_plain=sys.argv[3] == "ws"))
    else:
        print(table(run()))
