"""A complete server for a test: real processes on free ports, in a data directory of its own."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import onhook
from onhook.cdr.call_details import CallDetails
from onhook.config import parse_address
from onhook.lib.signing import SIGNATURE_HEADER, sign
from onhook.ops.instance_lock import START_SECONDS_MAX
from onhook.pbx.yeastar.payload import Yeastar

SN = "3631A2124ABC"
SECRET = "0123456789abcdefghijABCDEFGHIJ01"
ONHOOK = Path(sys.executable).with_name("onhook")
SOURCE = Path(onhook.__file__).parents[1]
"""The code that is tested, which the program may not be installed from: several working trees can share one .venv."""

WAIT_SECONDS_MAX = 30.0
READ_SECONDS_MAX = 300.0
CALLS_MAX = 1_000_000
FIRST_CALL_AT = datetime.fromisoformat("2026-04-27 19:04:36")


class Server:
    """`onhook serve` on a data directory, and the commands of a person."""

    def __init__(self, directory: Path, program: Path = ONHOOK) -> None:
        self.directory = directory
        self.program = program
        self.log = directory.parent / f"{directory.name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def run_command(self, *arguments: str, exit_code: int | None = 0, timeout_seconds: float = WAIT_SECONDS_MAX) -> str:
        """Run a command; return its output. `exit_code` is the expected one, None for any."""
        completed = self.execute(*arguments, timeout_seconds=timeout_seconds)
        assert exit_code is None or completed.returncode == exit_code, completed.stderr
        return completed.stdout

    def execute(self, *arguments: str, timeout_seconds: float = WAIT_SECONDS_MAX) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.program), *arguments],
            cwd=self.directory.parent,
            env=command_environment(self.directory, self.program),
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )

    def add_pbx(self) -> None:
        self.run_command("pbx", "add", "Office", "--sn", SN, "--secret", SECRET)

    def start(self, *arguments: str, ready_process: str = "hub") -> None:
        """Start the server and wait until a process is ready."""
        self.launch(*arguments)
        wait_until(
            lambda: self.address(ready_process) is not None and self.address("intake") is not None, START_SECONDS_MAX
        )

    def launch(self, *arguments: str) -> None:
        """Start the server without waiting for it."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(self.program), "serve", "--intake", "127.0.0.1:0", "--console", "127.0.0.1:0", *arguments],
                cwd=self.directory.parent,
                env=command_environment(self.directory, self.program),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def stop(self) -> int:
        """Stop the server by a signal; return its exit code."""
        assert self.process is not None
        self.process.terminate()
        exit_code = self.process.wait(WAIT_SECONDS_MAX)
        self.process = None
        return exit_code

    def process_info(self, name: str) -> dict[str, Any] | None:
        """Return the entry of a process in `running.json`."""
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
            info: dict[str, Any] | None = json.loads((self.directory / "running.json").read_bytes())[name]
            return info
        return None

    def address(self, name: str) -> str | None:
        info = self.process_info(name)
        return None if info is None else str(info["address"])

    def kill(self, name: str) -> int:
        """Kill a process as a crash would; return its id, 0 where there is none."""
        info = self.process_info(name)
        if info is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            os.kill(info["pid"], signal.SIGKILL)
        return int(info["pid"])

    def read_progress(self) -> object:
        """Return what changes as long as the server does something: its processes, its log, and the whole seconds of
        processor time of each process.
        """
        assert self.process is not None
        seconds = {pid: _processor_seconds(pid) for pid in [self.process.pid, *_list_children(self.process.pid)]}
        return seconds, self.log.stat().st_size

    def post(
        self, body: bytes, secret: str = SECRET, address_text: str | None = None, timeout_seconds: float = 10
    ) -> int:
        """Post an event as a PBX does; return the status of the response. Raises `OSError` without one."""
        address = parse_address(address_text or self.address("intake"), "running.json")
        connection = http.client.HTTPConnection(address.host, address.port, timeout=timeout_seconds)
        try:
            connection.request("POST", "/", body, {SIGNATURE_HEADER: sign(secret, body), "Connection": "close"})
            return connection.getresponse().status
        finally:
            connection.close()

    def calls(self) -> list[dict[str, Any]]:
        """Return all calls, as a person sees them."""
        command = ("calls", "--format", "json", "--limit", str(CALLS_MAX))
        rows: list[dict[str, Any]] = json.loads(self.run_command(*command, timeout_seconds=READ_SECONDS_MAX))
        assert len(rows) < CALLS_MAX
        return rows

    def log_text(self) -> str:
        return self.log.read_text()


def _list_children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _processor_seconds(pid: int) -> int:
    """Return the processor time of a process; 0 of one that has ended."""
    with contextlib.suppress(OSError):
        # Behind the name of the program, which may contain spaces: state is the first field, utime and stime follow.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) // os.sysconf("SC_CLK_TCK")
    return 0


def command_environment(data: Path | None = None, program: Path = ONHOOK) -> dict[str, str]:
    """Return the environment of a command on a data directory: with the code of the tests, and no setting of a person.
    Another program, such as an installed one, has its own code.
    """
    return {
        "PATH": os.environ["PATH"],
        **({"PYTHONPATH": str(SOURCE)} if program == ONHOOK else {}),
        **({} if data is None else {"ONHOOK_DATA": str(data)}),
        **_coverage_environment(),
    }


def _coverage_environment() -> dict[str, str]:
    """Return the variables by which commands are measured too."""
    return {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_PROCESS")}


@contextlib.contextmanager
def create_server(directory: Path, program: Path = ONHOOK) -> Iterator[Server]:
    """Yield a server that is stopped afterwards."""
    server = Server(directory, program)
    try:
        yield server
    finally:
        if server.process is not None:
            server.process.terminate()
            server.process.wait(WAIT_SECONDS_MAX)


def webhook_body(number: int, sn: str = SN) -> bytes:
    """Return the event of a call from Alice to Bob: another call for each number, begun a second later."""
    details = CallDetails(
        call_id=f"1777{number:06}.{number}",
        time_start=str(FIRST_CALL_AT + timedelta(seconds=number)),
        call_from="Alice<1001>",
        call_to="Bob<1002>",
        call_duration=30,
        talk_duration=20,
        status="ANSWERED",
        type="Internal",
    )
    return Yeastar().format(details, sn, "p-2026")


def call_ids(rows: Sequence[dict[str, Any]]) -> list[str]:
    return sorted(row["call_id"] for row in rows)


def call_id(number: int) -> str:
    return f"1777{number:06}.{number}"


def wait_until(
    condition: Callable[[], bool],
    seconds: float = WAIT_SECONDS_MAX,
    *,
    read_progress: Callable[[], object] = lambda: None,
) -> None:
    """Return when the condition holds. Fail when it does not in time, which begins anew with each change of the
    progress: on a loaded machine everything takes longer, and nothing stands still.
    """
    deadline, progress = time.monotonic() + seconds, read_progress()
    while not condition():
        if (latest := read_progress()) != progress:
            deadline, progress = time.monotonic() + seconds, latest
        assert time.monotonic() < deadline, f"the condition did not hold in time; progress: {progress}"
        time.sleep(0.05)
