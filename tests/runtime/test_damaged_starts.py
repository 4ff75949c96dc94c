"""Starts on copies of a data directory in which something is damaged: no process crashes, and the log says why."""

import random
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import pytest

from tests import counts
from tests.runtime.harness import Server, create_server, wait_until, webhook_body

EVENTS = 300
START_SECONDS_MAX = 20.0
RUN_SECONDS = 0.5

CRASH_WORDS = ("SIGSEGV", "SIGABRT", "SIGBUS", "Fatal Python error", "Traceback", "never retrieved")
"""Words in the log of a process that died of a damaged file, or of a task whose error was not read."""


def truncate(path: Path, rng: random.Random) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(rng.randrange(size) if size else 0)


def overwrite_page(path: Path, rng: random.Random) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(rng.randrange(max(1, size - 4096)))
        file.write(rng.randbytes(min(4096, size)))


def flip_bits(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(20 if content else 0):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def remove(path: Path, _rng: random.Random) -> None:
    path.unlink()


DAMAGES: Final[Mapping[str, Callable[[Path, random.Random], None]]] = {
    "truncated": truncate,
    "overwritten": overwrite_page,
    "with flipped bits": flip_bits,
    "removed": remove,
}
FILES: Final = (
    *("ledger.db", "ledger.db-wal", "ledger.db-shm", "calls.duckdb", "calls.duckdb.wal"),
    *("onhook.db", "onhook.db-wal", "onhook.db-shm"),
)


@pytest.mark.parametrize("rounds", [counts.rounds(40, seconds_each=25)])
def test_start_on_damaged_copies_never_crashes(server: Server, rounds: int, tmp_path: Path) -> None:
    """One file of a server that was killed is damaged in each copy. The server runs, or ends with an error."""
    rng = random.Random(rounds)
    fill(server)
    crashes = []
    for number in range(rounds):
        copy = tmp_path / f"copy-{number}"
        shutil.copytree(server.directory, copy, ignore=shutil.ignore_patterns("running.json", "*-waiters"))
        name = rng.choice([name for name in FILES if (copy / name).exists()])
        damage = rng.choice(list(DAMAGES))
        DAMAGES[damage](copy / name, rng)
        log_text = run(copy)
        crashes += [f"{name} {damage}: {log_text}" for word in CRASH_WORDS if word in log_text]
        shutil.rmtree(copy)
    assert crashes == []


def fill(server: Server) -> None:
    """Leave the files as a power failure would: with all that was written, and with write-ahead logs."""
    server.start()
    for number in range(EVENTS):
        assert server.post(webhook_body(number)) == 200
    wait_until(lambda: "is 0 events behind" in server.run_command("doctor", exit_code=None))
    server.kill("hub")
    server.kill("intake")
    assert server.process is not None
    server.process.kill()
    server.process.wait()
    server.process = None


def run(directory: Path) -> str:
    """Start a server on a directory, let it run for a moment, stop it; return its log."""
    with create_server(directory) as server:
        server.launch()
        assert server.process is not None
        deadline = time.monotonic() + START_SECONDS_MAX
        while server.process.poll() is None and server.address("hub") is None and time.monotonic() < deadline:
            time.sleep(0.05)
        try:
            server.process.wait(RUN_SECONDS)
        except subprocess.TimeoutExpired:
            server.stop()
        return server.log_text()
