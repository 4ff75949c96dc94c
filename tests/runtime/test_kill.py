"""`kill -9` at random moments under load: acknowledged events are stored, once."""

import random
import threading
import time
from typing import Self

import pytest

from tests import counts
from tests.runtime.harness import Server, call_id, call_ids, wait_until, webhook_body

SENDERS = 4
PAUSE_SECONDS_MAX = 0.6


class Load:
    """PBXs that report without end; each event is retried until it is answered 200."""

    def __init__(self, server: Server, address: str) -> None:
        self.acknowledged: set[int] = set()
        self._server = server
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
            return self._server.post(webhook_body(number), address_text=self._address) == 200
        except OSError:
            time.sleep(0.02)
            return False


def survive(server: Server, rounds: int, seed: int) -> None:
    """Kill random processes at random moments, and count."""
    jitter = random.Random(seed)
    server.start()
    with Load(server, server.address("intake") or "") as load:
        for _ in range(rounds):
            time.sleep(jitter.uniform(0, PAUSE_SECONDS_MAX))
            victims = jitter.choice([("intake",), ("hub",), ("intake", "hub")])
            for victim in victims:
                server.kill(victim)
            wait_until(lambda: all(server.process_info(name) is not None for name in ("intake", "hub")))
    expected = sorted(call_id(number) for number in load.acknowledged)
    assert len(expected) > rounds
    wait_until(lambda: server.run_command("doctor", exit_code=None).count("is 0 events behind") == 1)
    rows = server.calls()
    assert len(call_ids(rows)) == len(set(call_ids(rows)))
    # An event whose response was lost in the crash may be stored too; an acknowledged one must be.
    assert set(expected) - set(call_ids(rows)) == set()
    assert all(len(row["legs"]) == 1 for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [3, counts.rounds(50, seconds_each=15)])
def test_server_killed_again_and_again_has_every_acknowledged_event_once(server: Server, rounds: int) -> None:
    """Kills of the receiver, the hub, or both, on one data directory."""
    survive(server, rounds=rounds, seed=rounds)
