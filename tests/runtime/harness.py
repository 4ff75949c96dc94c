"""A whole house for a test: real processes on free ports, in a data directory of its own."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from onhook.cdr.call_details import CallDetails
from onhook.config import parse_address
from onhook.lib.signing import SIGNATURE_HEADER, sign
from onhook.pbx.yeastar.payload import Yeastar

SN = "3631A2124ABC"
SECRET = "0123456789abcdefghijABCDEFGHIJ01"
ONHOOK = Path(sys.executable).with_name("onhook")
PATIENCE_SECONDS = 30.0


class House:
    """`onhook serve` on a data directory, and the commands that a person would give."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory.parent / f"{directory.name}.log"
        self.serving: subprocess.Popen[bytes] | None = None

    def onhook(self, *words: str, code: int | None = 0) -> str:
        """Run a command; what it prints. `code` is the exit code it must have, None for any."""
        done = self.run(*words)
        assert code is None or done.returncode == code, done.stderr
        return done.stdout

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(ONHOOK), *words],
            cwd=self.directory.parent,
            env={"PATH": os.environ["PATH"], "ONHOOK_DATA": str(self.directory)},
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    def add_pbx(self) -> None:
        self.onhook("pbx", "add", "Office", "--sn", SN, "--secret", SECRET)

    def start(self, *words: str, waits_for: str = "hub") -> None:
        """Start it and wait until a part of it is up."""
        with self.log.open("ab") as log:
            self.serving = subprocess.Popen(
                [str(ONHOOK), "serve", "--intake", "127.0.0.1:0", "--console", "127.0.0.1:0", *words],
                cwd=self.directory.parent,
                env={"PATH": os.environ["PATH"], "ONHOOK_DATA": str(self.directory)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(lambda: self.address(waits_for) is not None and self.address("intake") is not None)

    def stop(self) -> int:
        """Stop it kindly; its exit code."""
        assert self.serving is not None
        self.serving.terminate()
        code = self.serving.wait(PATIENCE_SECONDS)
        self.serving = None
        return code

    def part(self, name: str) -> dict[str, Any] | None:
        """What `running.json` says of a part."""
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
            part: dict[str, Any] | None = json.loads((self.directory / "running.json").read_bytes())[name]
            return part
        return None

    def address(self, name: str) -> str | None:
        part = self.part(name)
        return None if part is None else str(part["address"])

    def kill(self, name: str) -> None:
        """End a process as a crash would."""
        part = self.part(name)
        if part is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(part["pid"], signal.SIGKILL)

    def post(self, body: bytes, secret: str = SECRET, at: str | None = None) -> int:
        """Post a report as a PBX does; the status of the answer. Raises `OSError` when there is none."""
        address = parse_address(at or self.address("intake"), "running.json")
        connection = http.client.HTTPConnection(address.host, address.port, timeout=10)
        try:
            connection.request("POST", "/", body, {SIGNATURE_HEADER: sign(secret, body), "Connection": "close"})
            return connection.getresponse().status
        finally:
            connection.close()

    def calls(self) -> list[dict[str, Any]]:
        """All calls, as a person sees them."""
        rows: list[dict[str, Any]] = json.loads(self.onhook("calls", "--format", "json", "--limit", "100000"))
        return rows

    def text_of_log(self) -> str:
        return self.log.read_text()


@contextlib.contextmanager
def house_in(directory: Path) -> Iterator[House]:
    """A house that is surely stopped afterwards."""
    house = House(directory)
    try:
        yield house
    finally:
        if house.serving is not None:
            house.serving.terminate()
            house.serving.wait(PATIENCE_SECONDS)


def report(number: int, sn: str = SN) -> bytes:
    """A report of a call from Alice to Bob, different for each number."""
    details = CallDetails(
        call_id=f"1777{number:06}.{number}",
        time_start="2026-04-27 19:04:36",
        call_from="Alice<1001>",
        call_to="Bob<1002>",
        call_duration=30,
        talk_duration=20,
        status="ANSWERED",
        type="Internal",
    )
    return Yeastar().write(details, sn, "p-2026")


def call_ids(rows: Sequence[dict[str, Any]]) -> list[str]:
    return sorted(row["call_id"] for row in rows)


def call_id(number: int) -> str:
    return f"1777{number:06}.{number}"


def wait_until(holds: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    """Return when it holds. Fails when it does not in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
