"""`onhook simulate` with a receiver on a real socket."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from onhook.lib.signing import SIGNATURE_HEADER, is_signed_by
from tests.cli.conftest import Command
from tests.factories import SN

SECRET = "only in a file, 32 characters it"


class SignedRequests:
    """A receiver that accepts everything; `requests` are body and signature of each request."""

    def __init__(self) -> None:
        self.requests: list[tuple[bytes, str]] = []
        requests = self.requests

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                requests.append((body, self.headers.get(SIGNATURE_HEADER, "")))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"


@pytest.fixture
def receiver() -> Iterator[SignedRequests]:
    """Yield a receiver that runs in a thread of its own."""
    signed_requests = SignedRequests()
    thread = threading.Thread(target=signed_requests.server.serve_forever)
    thread.start()
    yield signed_requests
    signed_requests.server.shutdown()
    thread.join()
    signed_requests.server.server_close()


def test_simulate_secret_of_a_file_signs_the_events(onhook: Command, receiver: SignedRequests) -> None:
    """The line break at its end is none of the secret; the list of processes and the output do not have it."""
    Path("secret.txt").write_text(f"{SECRET}\n")
    options = ("--to", receiver.url, "--sn", SN, "--secret-file", "secret.txt", "--count", "5", "--rate", "100")
    code, out, error = onhook("simulate", *options)
    assert (code, len(receiver.requests)) == (0, 5)
    assert all(is_signed_by([SECRET], body, signature) for body, signature in receiver.requests)
    assert SECRET not in out + error


def test_simulate_secret_file_that_cannot_be_read_is_one_sentence(onhook: Command, receiver: SignedRequests) -> None:
    code, _, error = onhook("simulate", "--to", receiver.url, "--sn", SN, "--secret-file", "nowhere.txt")
    assert (code, "nowhere.txt" in error, receiver.requests) == (2, True, [])
