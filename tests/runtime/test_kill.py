"""`kill -9` at random moments under load: acknowledged events are stored, once, and sent to each destination; after
each death of the hub a few dozen of them are sent again.
"""

import json
import random
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

import pytest

from onhook.delivery.commit_batch import UNCOMMITTED_MAX
from tests import counts
from tests.runtime.harness import READ_SECONDS_MAX, Server, call_id, call_ids, wait_until, webhook_body

SENDERS = 4
SEND_SECONDS = 0.02
"""Between two events of a sender: 200 a second in all, which the slow destination receives in time."""

PAUSE_SECONDS_MAX = 0.6

DELIVERING_SHARE = 0.75
"""Of the kills so many come when the hub sends notifications again, the others while it may still be starting."""


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
                self._stop.wait(SEND_SECONDS)

    def _is_acknowledged(self, number: int) -> bool:
        try:
            return self._server.post(webhook_body(number), address_text=self._address) == 200
        except OSError:
            time.sleep(0.02)
            return False


class QuietServer(ThreadingHTTPServer):
    """A server whose clients may die."""

    daemon_threads = True

    def handle_error(self, *_arguments: object) -> None:
        return


class Destination:
    """A receiver of notifications, which answers each after some time. It counts those that it has had before, by the
    number of the hub's deaths before the connection was opened: what a hub has sent may be read after its death.
    """

    def __init__(self, response_seconds: float) -> None:
        self.accepted: set[str] = set()
        self.repeats_by_death = [0]
        self._lock = threading.Lock()
        accept, count_deaths = self._accept, self._count_deaths

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                self.death_count = count_deaths()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                time.sleep(response_seconds)
                accept(json.loads(json.loads(body)["msg"])["call_id"], self.death_count)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                return

        self._server = QuietServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def count_death(self) -> None:
        with self._lock:
            self.repeats_by_death.append(0)

    def _count_deaths(self) -> int:
        with self._lock:
            return len(self.repeats_by_death) - 1

    def _accept(self, accepted_id: str, death_count: int) -> None:
        with self._lock:
            if accepted_id in self.accepted:
                self.repeats_by_death[death_count] += 1
            self.accepted.add(accepted_id)


def survive(server: Server, rounds: int, seed: int, destinations: Sequence[Destination]) -> set[str]:
    """Kill random processes at random moments, and count; return the ids of the acknowledged calls."""
    jitter = random.Random(seed)
    server.start()
    with Load(server, server.address("intake") or "") as load:
        for _ in range(rounds):
            if jitter.random() < DELIVERING_SHARE:
                counts_before = [len(destination.accepted) for destination in destinations]
                wait_until(partial(have_grown, destinations, counts_before), read_progress=server.read_progress)
            time.sleep(jitter.uniform(0, PAUSE_SECONDS_MAX))
            victims = jitter.choice([("intake",), ("hub",), ("intake", "hub")])
            killed_pids = {name: server.kill(name) for name in victims}
            assert all(killed_pids.values())
            for destination in destinations if "hub" in victims else ():
                destination.count_death()
            wait_until(partial(has_restarted, server, killed_pids), read_progress=server.read_progress)
    expected = {call_id(number) for number in load.acknowledged}
    assert len(expected) > rounds
    wait_until(lambda: has_no_backlog(server), read_progress=server.read_progress)
    rows = server.calls()
    assert len(call_ids(rows)) == len(set(call_ids(rows)))
    # An event whose response was lost in the crash may be stored too; an acknowledged one must be.
    assert expected - set(call_ids(rows)) == set()
    assert all(len(row["legs"]) == 1 for row in rows)
    return expected


def have_grown(destinations: Sequence[Destination], counts_before: Sequence[int]) -> bool:
    """Return whether each destination has accepted more calls than these."""
    return all(len(each.accepted) > count for each, count in zip(destinations, counts_before, strict=True))


def has_restarted(server: Server, killed_pids: Mapping[str, int]) -> bool:
    """Return whether both processes run, and those that were killed are new ones."""
    pids = {name: (server.process_info(name) or {}).get("pid", 0) for name in ("intake", "hub")}
    return all(pids.values()) and all(pids[name] != pid for name, pid in killed_pids.items())


def has_no_backlog(server: Server) -> bool:
    text = server.run_command("doctor", exit_code=None, timeout_seconds=READ_SECONDS_MAX)
    return text.count("is 0 events behind") == 1


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [3, counts.rounds(50, seconds_each=60)])
def test_server_killed_again_and_again_has_every_acknowledged_event_once(server: Server, rounds: int) -> None:
    """Kills of the receiver, the hub, or both, on one data directory. Each destination gets every call, and after a
    kill no more of them again than were uncommitted.
    """
    with Destination(0.0) as fast, Destination(0.01) as slow:
        for name, destination in (("fast", fast), ("slow", slow)):
            server.run_command("destination", "add", name, "--url", destination.url, "--allow-private")
        expected = survive(server, rounds, rounds, (fast, slow))
        for name, destination in (("fast", fast), ("slow", slow)):
            wait_until(partial(expected.issubset, destination.accepted), read_progress=server.read_progress)
            first, *repeats = destination.repeats_by_death
            text = f"{name}: {len(destination.accepted)} calls; repeats after each death of the hub: {sorted(repeats)}"
            sys.stdout.write(f"{text}\n")
            assert first == 0
            assert max(repeats, default=0) <= UNCOMMITTED_MAX
