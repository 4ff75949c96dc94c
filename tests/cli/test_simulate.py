"""`onhook simulate`."""

import http.client
import json
import signal
import socket
import ssl
import subprocess
from functools import partial
from typing import Any

import pytest

from onhook.config import Address, parse_address
from tests.cli.conftest import Command
from tests.runtime.harness import ONHOOK, Server, wait_until

OTHER_SECRET = "a secret of no registered PBX"
FEW = ("--count", "2", "--start", "2026-04-01")


@pytest.mark.slow
def test_simulate_without_a_receiver_is_one_sentence(server: Server) -> None:
    """After the figures."""
    with socket.create_server(("127.0.0.1", 0)) as used_socket:
        url = f"http://127.0.0.1:{used_socket.getsockname()[1]}/"
    result = server.execute("simulate", "--to", url, "--sn", "3631A2124ABC", *FEW)
    assert result.returncode == 1
    assert "responses  6 x no response" in result.stdout
    assert result.stderr == (
        f"onhook: no response from the receiver ({url}): start `onhook serve`, or give its address with --to\n"
    )


@pytest.mark.slow
@pytest.mark.parametrize("is_plain", [True, False])
def test_simulate_pbx_api_serves_applications(server: Server, is_plain: bool) -> None:
    """With TLS by default, until it is stopped; then it prints the figures."""
    directory = server.directory.parent
    words = ["--sn", "3631A2124ABC", "--client-id", "me", "--client-secret", "s" * 32, "--truth", "truth.jsonl", *FEW]
    with subprocess.Popen(
        [str(ONHOOK), "simulate", "--pbx-api", "127.0.0.1:0", *words, *(["--pbx-api-plain"] if is_plain else [])],
        cwd=directory,
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        line = running.stdout.readline()
        address = parse_address(line.split("://")[1].split("/")[0], "stdout")
        tls = None if is_plain else ssl.create_default_context(cafile=directory / "pbx_api.crt")
        connected = partial(connection_to, address, tls)
        token = send_api_request(connected(), "get_token", {"username": "me", "password": "s" * 32})["access_token"]
        wait_until(lambda: send_api_request(connected(), f"cdr/list?access_token={token}")["total_number"] == 2)
        running.send_signal(signal.SIGINT)
        rest = running.stdout.read()
    assert running.returncode == 0
    assert "2 generated" in rest
    assert len((directory / "truth.jsonl").read_text().splitlines()) == 2


def connection_to(address: Address, tls: ssl.SSLContext | None) -> http.client.HTTPConnection:
    if tls is None:
        return http.client.HTTPConnection(address.host, address.port, timeout=10)
    return http.client.HTTPSConnection(address.host, address.port, timeout=10, context=tls)


def send_api_request(connection: http.client.HTTPConnection, path: str, body: Any = None) -> Any:
    """Send one request to the PBX's own API."""
    text = None if body is None else json.dumps(body)
    connection.request("GET" if body is None else "POST", f"/openapi/v1.0/{path}", text, {"User-Agent": "OpenAPI"})
    try:
        return json.load(connection.getresponse())
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("words", "expected_text"),
    [
        (["--pbx-api", "nowhere"], "'nowhere' is not an address"),
        (["--pbx-api", "127.0.0.1:0"], "a client id cannot have 0 characters"),
        (["--pbx-api", "127.0.0.1:0", "--client-id", "me"], "a client secret cannot have 0 characters"),
        (["--pbx-api", "127.0.0.1:0", "--certificate", "a.crt"], "a certificate and its key are given together"),
        ([], "the simulated calls have no receiver"),
    ],
)
def test_simulate_invalid_api_option_is_one_sentence(onhook: Command, words: list[str], expected_text: str) -> None:
    """With exit code 2."""
    code, _, error = onhook("simulate", "--sn", "3631A2124ABC", *FEW, *words)
    assert code == 2
    assert expected_text in error
    assert error.count("\n") == 1
