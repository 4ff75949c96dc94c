"""Promises that brokers keep: what a message has, logins and TLS."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import msgspec

from onhook.cdr.record import Record
from onhook.delivery.destinations.contract import DeliveryResult, Notification
from onhook.delivery.payloads import make_notification_id
from tests.delivery.destinations.broker_servers import ReceivedMessage
from tests.delivery.destinations.contract import KindServer, open_client
from tests.delivery.harness import SECRET
from tests.factories import record
from tests.waiting import wait_until

NAME = "place.{type}.{sn}"


class BrokerKindServer(KindServer, Protocol):
    """A real broker; `refusal` is what it says to a wrong password."""

    refusal: str

    def messages(self) -> Sequence[ReceivedMessage]:
        """Return what arrived."""
        ...

    def name_settings(self, pattern: str) -> dict[str, Any]:
        """Return the settings with such names, which the reader sees."""
        ...

    def serve_tls(self, folder: Path) -> AbstractContextManager[tuple[str, str]]:
        """Run a server with TLS; return its address with the name `localhost`, and the PEM of its authority."""
        ...


def notification(source: Record) -> Notification:
    return Notification(make_notification_id(source), msgspec.json.encode(source), 1)


async def send(settings: dict[str, Any], *notifications: Notification, secrets: Sequence[str] = (SECRET,)) -> Any:
    """Send a batch; return the results."""
    client = open_client(settings, *secrets)
    try:
        results: Sequence[DeliveryResult] = await client.send(notifications)
        return [(result.outcome, result.detail) for result in results]
    finally:
        await client.close()


class BrokerContract:
    """Tests with the fixture `server`; a broker without keys has them in no header."""

    has_keys = False

    async def test_broker_message_has_name_headers_and_body(self, server: BrokerKindServer) -> None:
        source = record(sn="S 1", call_id="Zo\u00eb.1")
        settings = server.name_settings(NAME)
        results = await send(settings, notification(source))
        assert [outcome for outcome, _detail in results] == ["accepted"]
        await wait_until(lambda: len(server.messages()) == 1)
        (message,) = server.messages()
        assert message.name.endswith("place.record.S_1")
        assert message.body == msgspec.json.encode(source)
        assert {name: value for name, value in message.headers.items() if name.startswith("onhook-")} == {
            "onhook-id": make_notification_id(source),
            "onhook-format": "record-1",
            "onhook-sn": "S%201",
            "onhook-call-id": "Zo%C3%AB.1",
        }
        assert message.key == ("S%201/Zo%C3%AB.1" if self.has_keys else "")

    async def test_broker_sample_of_an_issue_is_marked_as_a_test(self, server: BrokerKindServer) -> None:
        settings = server.name_settings(NAME) | {"notifies_of": "issues"}
        body = b'{"type": "issue", "issue": {"issue_id": 0}}'
        results = await send(settings, Notification("test-1", body, 1, is_test=True))
        assert [outcome for outcome, _detail in results] == ["accepted"]
        await wait_until(lambda: len(server.messages()) == 1)
        (message,) = server.messages()
        assert (message.headers["onhook-format"], message.headers["onhook-test"]) == ("issue-1", "true")
        assert message.name.endswith("place.issue.-")

    async def test_broker_wrong_password_is_a_result(self, server: BrokerKindServer) -> None:
        ((outcome, detail),) = await send(server.settings, notification(record()), secrets=["wrong-password"])
        assert outcome == "unreachable"
        assert server.refusal in detail

    async def test_broker_older_password_is_used_until_the_newer_one_holds(self, server: BrokerKindServer) -> None:
        results = await send(server.settings, notification(record()), secrets=[SECRET, "newer-password"])
        assert [outcome for outcome, _detail in results] == ["accepted"]

    async def test_broker_tls_certificate_is_verified(self, server: BrokerKindServer, tmp_path: Path) -> None:
        """By the authority of the destination, and against the name."""
        folder = tmp_path / "server"
        folder.mkdir()
        with server.serve_tls(folder) as (url, authority_pem):
            settings = server.settings | {"url": url}
            trusted = settings | {"ca_certificates": authority_pem}
            other_name = trusted | {"url": url.replace("localhost", "127.0.0.1")}
            outcomes = []
            for changed_settings in (settings, other_name, trusted):
                ((outcome, detail),) = await send(changed_settings, notification(record()))
                outcomes.append((outcome, "certificate is not trusted" in detail))
        assert outcomes == [("unreachable", True), ("unreachable", True), ("accepted", False)]
