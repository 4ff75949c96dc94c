"""Environment of the receiver's bench: signed bodies, wrk, nginx, a receiver, senders at a steady rate."""

import asyncio
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import cast

import msgspec

from onhook.appdb.appdb import AppDb
from onhook.config import Address, Config
from onhook.lib.signing import sign
from onhook.runtime.child import build_command

SN = "3651XXXXXXXX"
SECRET = "0123456789abcdefghijABCDEFGHIJ01"
CONNECTIONS = 64
FIRST_SECOND = 1_790_197_458

WRK_SCRIPT = """
local threads = 0
function setup(thread) thread:set("id", threads); threads = threads + 1 end
function init(args)
  requests = {}
  local close = args[2] == "close" and "Connection: close\\r\\n" or ""
  local head = "POST / HTTP/1.1\\r\\nHost: onhook\\r\\nContent-Type: application/json\\r\\n" .. close .. "X-Signature: "
  local n = 0
  for line in io.lines(args[1]) do
    n = n + 1
    if n % 2 == id then
      local tab = line:find("\\t", 1, true)
      local body = line:sub(tab + 1)
      local length = "\\r\\nContent-Length: " .. #body .. "\\r\\n\\r\\n"
      requests[#requests + 1] = head .. line:sub(1, tab - 1) .. length .. body
    end
  end
  at = 0
end
function request() at = at % #requests + 1; return requests[at] end
"""

NGINX_CONFIGURATION = """
worker_processes 1; daemon off; pid {directory}/nginx.pid; error_log {directory}/nginx.err;
events {{ worker_connections 2048; }}
http {{
  access_log off; keepalive_requests 1000000000;
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
  server {{ listen 127.0.0.1:{port} backlog=1024; location / {{ return 204; }} }}
}}
"""


def missing_tools() -> list[str]:
    """Return the programs that are missing."""
    return [name for name in ("wrk", "nginx") if shutil.which(name) is None]


def body(number: int) -> bytes:
    """Return the event of a live capture of 2026, distinct by its number: a busy office of twenty events per second."""
    second = FIRST_SECOND + number // 20
    stamp = time.strftime("%Y%m%d%H%M%S", time.gmtime(second))
    members = (
        f'"call_id":"{second}.{number}","time_start":"{time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(second))}",'
        f'"call_from":"555{number % 9973:04}","call_to":"{1000 + number % 500}","call_duration":{number % 600},'
        f'"talk_duration":{number % 300},"src_trunk_name":"Trunk-A","dst_trunk_name":"","pin_code":"",'
        f'"status":"VOICEMAIL","type":"Inbound","recording":"","did_number":"","did_name":"","agent_ring_time":0,'
        f'"uid":"{stamp}{number % 1048576:05X}","call_note_id":"{stamp}-{number % 9973:05X}","enb_call_note":4,'
        f'"is_display":1,"realclidnum":""'
    )
    escaped = members.replace('"', '\\"')
    return f'{{"sn":"{SN}","type":30012,"msg":"{{{escaped}}}"}}'.encode()


def request(number: int) -> bytes:
    """Return a whole request with its own connection."""
    content = body(number)
    head = f"POST / HTTP/1.1\r\nHost: onhook\r\nConnection: close\r\nX-Signature: {sign(SECRET, content)}\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


def write_bodies(path: Path, numbers: range) -> None:
    """Write a line each: signature, tab, body."""
    with path.open("wb") as file:
        for number in numbers:
            content = body(number)
            file.write(sign(SECRET, content).encode() + b"\t" + content + b"\n")


def wrk(port: int, bodies: Path, *, is_kept: bool, seconds: int) -> float:
    """Return the answered requests per second, of 64 concurrent connections."""
    script = bodies.with_name("post.lua")
    script.write_text(WRK_SCRIPT)
    load = ["-t2", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(script), f"http://127.0.0.1:{port}/"]
    output = subprocess.run(
        ["wrk", *load, str(bodies), "keep" if is_kept else "close"], check=True, capture_output=True, text=True
    ).stdout
    assert "Non-2xx" not in output, output
    match = re.search(r"Requests/sec:\s+([\d.]+)", output)
    assert match, output
    return float(match[1])


@contextmanager
def nginx(directory: Path) -> Iterator[int]:
    """Run nginx with one worker, which answers 204 and stores nothing; yield its port."""
    port = _free_port()
    configuration = directory / "nginx.conf"
    configuration.write_text(NGINX_CONFIGURATION.format(directory=directory, port=port))
    running = subprocess.Popen(["nginx", "-c", str(configuration)], stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        yield port
    finally:
        running.terminate()
        running.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


class Intake:
    """A running receiver process, that of `onhook serve`."""

    def __init__(self, directory: Path) -> None:
        config = Config(data=directory, intake=Address("127.0.0.1", 0))
        self.begun_at = time.monotonic()
        self.running = subprocess.Popen(
            build_command("onhook.runtime.intake_process", config), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.running.stdout is not None
        status = msgspec.json.decode(self.running.stdout.readline())
        assert status["address"], status
        self.port = int(status["address"].rpartition(":")[2])

    def memory_mebibytes(self) -> float:
        status = Path(f"/proc/{self.running.pid}/status").read_text()
        match = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert match
        return int(match[1]) / 1024


@contextmanager
def intake(directory: Path) -> Iterator[Intake]:
    """Run a receiver with this data directory; it is created, with three PBXs, if it does not exist."""
    if not directory.exists():
        directory.mkdir(parents=True)
        asyncio.run(_add_pbxs(directory / "onhook.db"))
    receiver = Intake(directory)
    try:
        yield receiver
    finally:
        receiver.running.terminate()
        receiver.running.communicate()


async def _add_pbxs(path: Path) -> None:
    async with AppDb(path) as appdb:
        for sn in (SN, "3631A2124XXX", "365XXXXXXXXXXUUG"):
            await appdb.add_pbx(name=sn, sn=sn, secret=SECRET, now_us=0)


class _Sender(asyncio.Protocol):
    """Sends one event; records when the response arrived, counted from its due time."""

    def __init__(self, content: bytes, due_at: float, waited: list[float]) -> None:
        self._content = content
        self._due_at = due_at
        self._waited = waited

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).write(self._content)

    def data_received(self, data: bytes) -> None:
        assert data.startswith(b"HTTP/1.1 200 "), data
        self._waited.append(time.monotonic() - self._due_at)


def _itself(sender: _Sender) -> _Sender:
    return sender


async def send_steadily(port: int, requests: Sequence[bytes], rate: int) -> list[float]:
    """Send each request when it is due, answered before or not, a connection each; return the seconds from due to
    answered.
    """
    loop = asyncio.get_running_loop()
    waited: list[float] = []
    begun_at = time.monotonic() + 0.1
    tasks = set()
    for number, content in enumerate(requests):
        due_at = begun_at + number / rate
        if (pause := due_at - time.monotonic()) > 0:
            await asyncio.sleep(pause)
        sender = _Sender(content, due_at, waited)
        tasks.add(asyncio.ensure_future(loop.create_connection(partial(_itself, sender), "127.0.0.1", port)))
    await asyncio.gather(*tasks)
    await asyncio.sleep(1)
    assert len(waited) == len(requests), f"{len(requests) - len(waited)} without answer"
    return waited
