"""Two servers, one sending to the other: the second has exactly the first one's records."""

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import counts
from tests.runtime.harness import ONHOOK, SECRET, SN, Server, command_environment, create_server, wait_until
from tests.runtime.links import TcpProxy

LINK_SECRET = "abcdefghijABCDEFGHIJ0123456789xy"
OWN_TO_A_SERVER = frozenset({"seq", "via", "received_at", "pbx"})
"""Fields that may differ between the two servers."""


@contextmanager
def chain(directory: Path) -> Iterator[tuple[Server, Server, TcpProxy]]:
    """Yield A, which receives and sends; B, which receives from A; and the proxy between them."""
    with create_server(directory / "a") as a, create_server(directory / "b") as b:
        b.run_command("pbx", "add", "Office", "--sn", SN, "--secret", LINK_SECRET)
        b.start(ready_process="intake")
        link = TcpProxy(b.address("intake") or "")
        a.add_pbx()
        a.run_command("destination", "add", "B", "--url", link.url, "--secret", LINK_SECRET, "--allow-private")
        a.start()
        try:
            yield a, b, link
        finally:
            link.close()


@contextmanager
def simulated(a: Server, count: int, rate: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a simulated PBX that reports to A until it has reported so many records."""
    url = f"http://{a.address('intake')}/"
    words = ["--to", url, "--sn", SN, "--secret", SECRET, "--count", str(count), "--rate", str(rate), "--start", "30d"]
    command = [str(ONHOOK), "simulate", *words]
    with subprocess.Popen(command, env=command_environment(), stdout=subprocess.DEVNULL, stderr=sys.stderr) as made_up:
        yield made_up


def records(server: Server) -> list[dict[str, Any]]:
    """Return all records, without the fields that may differ."""
    rows = json.loads(server.run_command("records", "--format", "json", "--limit", "100000"))
    shared = [{name: value for name, value in row.items() if name not in OWN_TO_A_SERVER} for row in rows]
    return sorted(shared, key=lambda row: str(row["record_id"]))


def is_served(a: Server) -> bool:
    (destination,) = json.loads(a.run_command("destination", "list", "--format", "json"))
    return bool(destination["pending"] == 0 and destination["failed"] == 0)


def disturb(a: Server, b: Server, link: TcpProxy, rounds: int, rng: random.Random) -> None:
    """Kill a process of either server, or disconnect the proxy for a moment, at random."""
    for _ in range(rounds):
        time.sleep(rng.uniform(0.1, 0.8))
        victim = rng.choice(["a hub", "a intake", "b hub", "b intake", "link"])
        if victim == "link":
            link.disconnect()
            time.sleep(rng.uniform(0.1, 1.0))
            link.reconnect()
        else:
            server = a if victim[0] == "a" else b
            part = victim.partition(" ")[2]
            server.kill(part)
            wait_until(lambda server=server, part=part: server.process_info(part) is not None)  # type: ignore[misc]


def survive(directory: Path, *, rounds: int, count: int, rate: int, seed: int) -> None:
    with chain(directory) as (a, b, link):
        with simulated(a, count, rate):
            disturb(a, b, link, rounds, random.Random(seed))
        # Rows are retried within minutes; a person would not wait either.
        a.run_command("destination", "retry", "B")
        wait_until(lambda: is_served(a), seconds=120)
        wait_until(lambda: "is 0 events behind" in b.run_command("doctor", exit_code=None), seconds=30)
        of_a, of_b = records(a), records(b)
        assert len(of_a) > count // 2
        assert of_b == of_a


@pytest.mark.parametrize("rounds", [counts.rounds(3, seconds_each=20), counts.rounds(40, seconds_each=20)])
def test_chain_second_server_has_all_records(tmp_path: Path, rounds: int) -> None:
    """While A, B and the proxy between them are killed and disconnected at random, a few times and many."""
    survive(tmp_path, rounds=rounds, count=rounds * 150, rate=100, seed=rounds)
