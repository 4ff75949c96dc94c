"""Legs of a FreeSWITCH while processes are killed: one call, with all its legs, sent to a destination."""

import http.client
import json
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from onhook.config import parse_address
from tests.pbx.freeswitch.captures import bodies
from tests.runtime.harness import Server, wait_until


class Destination:
    """A receiver of notifications."""

    def __init__(self) -> None:
        self.talks: list[int | None] = []
        talks = self.talks

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                talks.append(json.loads(event["msg"])["talk_duration"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                return

        self._http_server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http_server.server_port}/"
        threading.Thread(target=self._http_server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._http_server.shutdown()
        self._http_server.server_close()


def post_leg(server: Server, body: bytes) -> int:
    address = parse_address(server.address("intake") or "", "running.json")
    connection = http.client.HTTPConnection(address.host, address.port, timeout=10)
    try:
        connection.request("POST", "/?uuid=x", body, {"Content-Type": "application/x-www-form-urlencoded"})
        return connection.getresponse().status
    finally:
        connection.close()


def has_restarted(server: Server, name: str, killed_pid: int) -> bool:
    info = server.process_info(name)
    return info is not None and info["pid"] != killed_pid


@pytest.mark.slow
def test_leg_before_and_after_kills_of_hub_and_intake_are_one_call(server: Server) -> None:
    """The first legs are gathered after a restart, with those that come then."""
    destination = Destination()
    server.run_command("pbx", "add", "Fusion", "--sn", "FUSION-1", "--dialect", "freeswitch", "--from", "127.0.0.1")
    server.run_command("destination", "add", "crm", "--url", destination.url, "--allow-private")
    server.start()
    for leg in bodies("s40"):
        assert post_leg(server, leg) == 200
        for name in ("hub", "intake"):
            pid = server.kill(name)
            wait_until(partial(has_restarted, server, name, pid))
        assert post_leg(server, leg) == 200
    wait_until(lambda: [len(row["legs"]) for row in server.calls()] == [3])
    (call,) = server.calls()
    assert (call["answered_by"], call["talk_duration"]) == ("1002", 6)
    wait_until(lambda: len(destination.talks) >= 3)
    assert sorted(talk or 0 for talk in set(destination.talks)) == [0, 6]
    assert server.stop() == 0
    destination.close()
