"""`kill -9` at random moments under load: what was acknowledged is there, once."""

import random
import threading
import time
from typing import Self

import pytest

from tests.runtime.harness import Server, call_id, call_ids, wait_until, webhook_body

SENDERS = 4
PAUSE_SECONDS_MAX = 0.6


class Load:
    """PBXs that report without end; each report is tried until it is answered 200, as by a very stubborn PBX."""

    def __init__(self, server: Server, address: str) -> None:
        self.acknowledged: set[int] = set()
        self._house = server
        self._address = address
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(first,)) for first in range(SENDERS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _send(self, number: int) -> None:
        while not self._stop.is_set():
            if self._is_acknowledged(number):
                self.acknowledged.add(number)
                number += SENDERS

    def _is_acknowledged(self, number: int) -> bool:
        try:
            return self._house.post(webhook_body(number), address_text=self._address) == 200
        except OSError:
            time.sleep(0.02)
            return False


def survive(server: Server, rounds: int, seed: int) -> None:
    """Kill what chance wants, when it wants, and count."""
    chance = random.Random(seed)
    server.start()
    with Load(server, server.address("intake") or "") as load:
        for _ in range(rounds):
            time.sleep(chance.uniform(0, PAUSE_SECONDS_MAX))
            victims = chance.choice([("intake",), ("hub",), ("intake", "hub")])
            for victim in victims:
                server.kill(victim)
            wait_until(lambda: all(server.process_info(name) is not None for name in ("intake", "hub")))
    expected = sorted(call_id(number) for number in load.acknowledged)
    assert len(expected) > rounds
    wait_until(lambda: server.run_command("doctor", exit_code=None).count("is 0 reports behind") == 1)
    rows = server.calls()
    assert len(call_ids(rows)) == len(set(call_ids(rows)))
    # A report whose answer the crash has swallowed may be there too; one that was acknowledged must be.
    assert set(expected) - set(call_ids(rows)) == set()
    assert all(len(row["legs"]) == 1 for row in rows)


def test_what_was_acknowledged_survives_three_crashes(server: Server) -> None:
    """Every acknowledged record is there exactly once after kills of intake, hub, or both."""
    survive(server, rounds=3, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_was_acknowledged_survives_fifty_crashes(server: Server) -> None:
    """The same, fifty times over on one data directory."""
    survive(server, rounds=50, seed=2)
