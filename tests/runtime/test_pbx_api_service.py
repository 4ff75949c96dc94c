"""The exchange in a running house: it listens from the first application on, with TLS, and tells what PBXs report."""

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
from tests.runtime.harness import House, call_id, report, wait_until


class Application:
    """A program outside, which pins the house's certificate."""

    def __init__(self, house: House, credentials: dict[str, str]) -> None:
        self._address = house.address("exchange")
        self._tls = ssl.create_default_context(cafile=house.directory / "exchange.crt")
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
        given = {"username": self._credentials["client_id"], "password": self._credentials["client_secret"]}
        return self.request("v1.0/get_token", given)

    @contextmanager
    def listening(self, token: str) -> Iterator[ClientConnection]:
        url = f"wss://{self._address}/openapi/v1.0/subscribe?access_token={token}"
        with connect(url, ssl=self._tls, user_agent_header="OpenAPI") as socket:
            socket.send('{"topic_list":[30012]}')
            assert json.loads(socket.recv(timeout=10))["errcode"] == 0
            yield socket


@pytest.fixture
def serving(house: House) -> House:
    house.start("--exchange", "127.0.0.1:0")
    return house


def test_an_application_is_served_from_its_first_moment(serving: House) -> None:
    """Nobody listens before; then rows and events as the PBX reports them; `doctor` and `running.json` tell where."""
    assert serving.address("exchange") is None
    serving.post(report(1))
    credentials = json.loads(serving.onhook("app", "add", "crm", "--pbx", "Office", "--format", "json"))
    wait_until(lambda: serving.address("exchange") is not None)
    application = Application(serving, credentials)
    token = application.login()["access_token"]
    wait_until(lambda: application.request(f"v1.0/cdr/list?access_token={token}")["total_number"] == 1)
    (row,) = application.request(f"v1.0/cdr/list?access_token={token}")["data"]
    assert row["call_id"] == call_id(1)
    with application.listening(token) as socket:
        serving.post(report(2))
        event = json.loads(socket.recv(timeout=10))
    assert json.loads(event["msg"])["call_id"] == call_id(2)
    assert f"applications find the exchange on {serving.address('exchange')}" in serving.onhook("doctor")
    serving.onhook("app", "remove", "crm")
    wait_until(lambda: serving.address("exchange") is None)


@pytest.mark.slow
def test_a_renewed_secret_ends_tokens_and_sockets(serving: House) -> None:
    """The old pair counts no more, an open socket is told so, and the new secret is good."""
    credentials = json.loads(serving.onhook("app", "add", "crm", "--format", "json"))
    wait_until(lambda: serving.address("exchange") is not None)
    application = Application(serving, credentials)
    pair = application.login()
    with application.listening(pair["access_token"]) as socket:
        renewed = json.loads(serving.onhook("app", "renew", "crm", "--format", "json"))
        assert json.loads(socket.recv(timeout=10))["errcode"] == 10004
    assert application.login()["errcode"] == 10005
    assert application.request(f"v1.0/cdr/list?access_token={pair['access_token']}")["errcode"] == 10004
    assert Application(serving, renewed).login()["errcode"] == 0


@pytest.mark.slow
def test_an_address_that_is_kept_out_is_let_in_again(serving: House) -> None:
    """`onhook app unblock` counts at once."""
    credentials = json.loads(serving.onhook("app", "add", "crm", "--format", "json"))
    wait_until(lambda: serving.address("exchange") is not None)
    guessing, application = (
        Application(serving, credentials | {"client_secret": "x"}),
        Application(serving, credentials),
    )
    assert [guessing.login()["errcode"] for _ in range(5)][-1] == 70004
    assert application.login()["errcode"] == 70004
    assert "1 addresses may come again" in serving.onhook("app", "unblock", "127.0.0.1")
    assert application.login()["errcode"] == 0


@pytest.mark.slow
def test_the_exchange_is_found_again_after_the_hub_died(serving: House) -> None:
    """At the same address; tokens are gone, as after a PBX's reboot."""
    credentials = json.loads(serving.onhook("app", "add", "crm", "--format", "json"))
    wait_until(lambda: serving.address("exchange") is not None)
    address, application = serving.address("exchange"), Application(serving, credentials)
    token = application.login()["access_token"]
    serving.kill("hub")
    wait_until(lambda: serving.address("exchange") is None)
    wait_until(lambda: serving.address("exchange") is not None)
    assert serving.address("exchange") == address
    assert application.request(f"v1.0/cdr/list?access_token={token}")["errcode"] == 10004
    assert application.login()["errcode"] == 0


@pytest.mark.slow
def test_whoever_starts_the_server_is_told_where(house: House) -> None:
    """Where an application has credentials already; and `doctor` what to pin."""
    house.onhook("app", "add", "crm")
    house.start("--exchange", "127.0.0.1:0")
    wait_until(lambda: "  Exchange https://127.0.0.1:" in house.text_of_log())
    assert f"https://{house.address('exchange')}/openapi/v1.0/" in house.text_of_log()
    assert "exchange.crt has the SHA-256 fingerprint " in house.onhook("doctor")


@pytest.mark.slow
def test_a_taken_port_is_told_and_harms_nothing_else(house: House) -> None:
    """The log says it; calls are received and shown all the same."""
    house.onhook("app", "add", "crm")
    with listen("127.0.0.1", 0) as taken:
        house.start("--exchange", f"127.0.0.1:{taken.getsockname()[1]}")
        wait_until(lambda: "applications cannot come" in house.text_of_log())
    assert house.post(report(1)) == 200
    assert house.address("exchange") is None
