"""`kill -9` of a receiver under load: what was acknowledged is in the ledger, once."""

import asyncio
import random
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from onhook.ledger.sqlite import SqliteLedger
from tests import counts
from tests.receiver.harness import make_raw_event, make_request

SENDERS = 8


def send_until(port: int, is_over: threading.Event, first: int, acknowledged: list[int]) -> None:
    """Send events one after the other, a connection each; an unanswered event is repeated."""
    number = first
    while not is_over.is_set():
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                connection.sendall(make_request(make_raw_event(number)))
                answer = connection.recv(1_000)
        except OSError:
            time.sleep(0.01)
            continue
        if answer.startswith(b"HTTP/1.1 200 "):
            acknowledged.append(number)
            number += SENDERS


def start(path: Path, port: int) -> subprocess.Popen[str]:
    """Start a receiver process; return when it listens."""
    command = [sys.executable, "-m", "tests.receiver.open_receiver", str(path), str(port)]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    assert running.stdout.readline() == "open\n"
    return running


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("rounds", [3, counts.rounds(50, seconds_each=5)])
def test_receiver_killed_under_load_has_every_acknowledged_event_once(tmp_path: Path, rounds: int) -> None:
    jitter = random.Random(rounds)
    port, is_over = free_port(), threading.Event()
    acknowledged: list[list[int]] = [[] for _ in range(SENDERS)]
    senders = [
        threading.Thread(target=send_until, args=(port, is_over, first, acknowledged[first]))
        for first in range(SENDERS)
    ]
    running = start(tmp_path / "ledger.db", port)
    for sender in senders:
        sender.start()
    for _ in range(rounds):
        time.sleep(jitter.uniform(0, 0.4))
        running.kill()
        running.communicate()
        running = start(tmp_path / "ledger.db", port)
    time.sleep(0.3)
    is_over.set()
    for sender in senders:
        sender.join()
    running.terminate()
    running.communicate()
    bodies = asyncio.run(read_bodies(tmp_path / "ledger.db"))
    acknowledged_numbers = [number for numbers in acknowledged for number in numbers]
    assert len(acknowledged_numbers) > rounds * 10
    assert {make_raw_event(number) for number in acknowledged_numbers} <= set(bodies)
    assert len(bodies) == len(set(bodies))


async def read_bodies(path: Path) -> list[bytes]:
    ledger = SqliteLedger(path)
    bodies: list[bytes] = []
    after = 0
    while page := await ledger.read(after, 10_000):
        bodies += [event.body for event in page]
        after = page[-1].seq
    await ledger.close()
    return bodies
