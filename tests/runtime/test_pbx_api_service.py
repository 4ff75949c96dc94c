"""The PBX API in a running server: it listens from the first app on, with TLS, and sends the PBXs' events."""

import http.client
import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from onhook.config import parse_address
from onhook.pbx_api.connection_limiter import listen
from tests.runtime.harness import Server, call_id, wait_until, webhook_body


class App:
    """A program outside, which pins the server's certificate."""

    def __init__(self, server: Server, credentials: dict[str, str]) -> None:
        self._address = server.address("pbx_api")
        self._tls = ssl.create_default_context(cafile=server.directory / "pbx_api.crt")
        self._credentials = credentials

    def request(self, path: str, body: Any = None) -> Any:
        address = parse_address(self._address, "running.json")
        connection = http.client.HTTPSConnection(address.host, address.port, context=self._tls, timeout=10)
        try:
            method, text = ("GET", None) if body is None else ("POST", json.dumps(body))
            connection.request(method, f"/openapi/{path}", text, {"User-Agent": "OpenAPI"})
            return json.load(connection.getresponse())
        finally:
            connection.close()

    def login(self) -> Any:
        login_body = {"username": self._credentials["client_id"], "password": self._credentials["client_secret"]}
        return self.request("v1.0/get_token", login_body)

    @contextmanager
    def listening(self, token: str) -> Iterator[ClientConnection]:
        url = f"wss://{self._address}/openapi/v1.0/subscribe?access_token={token}"
        with connect(url, ssl=self._tls, user_agent_header="OpenAPI") as socket:
            socket.send('{"topic_list":[30012]}')
            assert json.loads(socket.recv(timeout=10))["errcode"] == 0
            yield socket


@pytest.fixture
def serving(server: Server) -> Server:
    server.start("--pbx-api", "127.0.0.1:0")
    return server


@pytest.mark.slow
def test_pbx_api_opens_for_the_first_application(serving: Server) -> None:
    """It is closed before; then rows and events as the PBX reports them; `doctor` and `running.json` show
    its address.
    """
    assert serving.address("pbx_api") is None
    serving.post(webhook_body(1))
    credentials = json.loads(serving.run_command("app", "add", "crm", "--pbx", "Office", "--format", "json"))
    wait_until(lambda: serving.address("pbx_api") is not None)
    app = App(serving, credentials)
    token = app.login()["access_token"]
    wait_until(lambda: app.request(f"v1.0/cdr/list?access_token={token}")["total_number"] == 1)
    (row,) = app.request(f"v1.0/cdr/list?access_token={token}")["data"]
    assert row["call_id"] == call_id(1)
    with app.listening(token) as socket:
        serving.post(webhook_body(2))
        event = json.loads(socket.recv(timeout=10))
    assert json.loads(event["msg"])["call_id"] == call_id(2)
    assert f"PBX API is listening on {serving.address('pbx_api')}" in serving.run_command("doctor")
    serving.run_command("app", "remove", "crm")
    wait_until(lambda: serving.address("pbx_api") is None)


@pytest.mark.slow
def test_pbx_api_renewed_secret_revokes_tokens_and_closes_sockets(serving: Server) -> None:
    """The new secret works."""
    credentials = json.loads(serving.run_command("app", "add", "crm", "--format", "json"))
    wait_until(lambda: serving.address("pbx_api") is not None)
    app = App(serving, credentials)
    pair = app.login()
    with app.listening(pair["access_token"]) as socket:
        renewed = json.loads(serving.run_command("app", "renew", "crm", "--format", "json"))
        assert json.loads(socket.recv(timeout=10))["errcode"] == 10004
    assert app.login()["errcode"] == 10005
    assert app.request(f"v1.0/cdr/list?access_token={pair['access_token']}")["errcode"] == 10004
    assert App(serving, renewed).login()["errcode"] == 0


@pytest.mark.slow
def test_pbx_api_unblocked_address_has_new_tries(serving: Server) -> None:
    """`onhook app unblock` has effect at once; the right secret is never blocked."""
    credentials = json.loads(serving.run_command("app", "add", "crm", "--format", "json"))
    wait_until(lambda: serving.address("pbx_api") is not None)
    guessing, app = (
        App(serving, credentials | {"client_secret": "x"}),
        App(serving, credentials),
    )
    assert [guessing.login()["errcode"] for _ in range(5)][-1] == 70004
    assert guessing.login()["errcode"] == 70004
    assert app.login()["errcode"] == 0
    assert "Unblocked addresses: 1." in serving.run_command("app", "unblock", "127.0.0.1")
    assert guessing.login()["errcode"] == 10005


@pytest.mark.slow
def test_pbx_api_has_the_same_address_after_a_crash(serving: Server) -> None:
    """And its tokens are valid."""
    credentials = json.loads(serving.run_command("app", "add", "crm", "--format", "json"))
    wait_until(lambda: serving.address("pbx_api") is not None)
    address, app = serving.address("pbx_api"), App(serving, credentials)
    token = app.login()["access_token"]
    serving.kill("hub")
    wait_until(lambda: serving.address("pbx_api") is None)
    wait_until(lambda: serving.address("pbx_api") is not None)
    assert serving.address("pbx_api") == address
    assert app.request(f"v1.0/cdr/list?access_token={token}")["errcode"] == 0


@pytest.mark.slow
def test_serve_prints_the_address_of_the_pbx_api(server: Server) -> None:
    """Where an app has credentials already; `doctor` prints the fingerprint to pin."""
    server.run_command("app", "add", "crm")
    server.start("--pbx-api", "127.0.0.1:0")
    wait_until(lambda: "  PBX API  https://127.0.0.1:" in server.log_text())
    assert f"https://{server.address('pbx_api')}/openapi/v1.0/" in server.log_text()
    assert "pbx_api.crt has the SHA-256 fingerprint " in server.run_command("doctor")


@pytest.mark.slow
def test_pbx_api_port_in_use_is_logged_and_affects_nothing_else(server: Server) -> None:
    """Calls are received and shown all the same."""
    server.run_command("app", "add", "crm")
    with listen("127.0.0.1", 0) as used_socket:
        server.start("--pbx-api", f"127.0.0.1:{used_socket.getsockname()[1]}")
        wait_until(lambda: "PBX API cannot start" in server.log_text())
        assert server.post(webhook_body(1)) == 200
        assert server.address("pbx_api") is None


@pytest.mark.slow
def test_pbx_api_token_is_valid_after_a_restart(server: Server) -> None:
    """The access token, the refresh token once, and no revoked one."""
    credentials = json.loads(server.run_command("app", "add", "crm", "--format", "json"))
    server.start("--pbx-api", "127.0.0.1:0")
    app = App(server, credentials)
    pair, revoked = app.login(), app.login()["access_token"]
    app.request(f"v1.0/del_token?access_token={revoked}")
    assert server.stop() == 0
    server.start("--pbx-api", "127.0.0.1:0")
    app = App(server, credentials)
    token = pair["access_token"]
    assert app.request(f"v1.0/cdr/list?access_token={token}")["errcode"] == 0
    assert app.request(f"v1.0/cdr/list?access_token={revoked}")["errcode"] == 10004
    refresh_body = {"refresh_token": pair["refresh_token"]}
    assert [app.request("v1.0/refresh_token", refresh_body)["errcode"] for _ in range(2)] == [0, 10004]
