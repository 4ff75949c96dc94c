"""What outcomes of messages mean for their notifications, whatever the broker."""

from collections.abc import Sequence

import pytest

from onhook.appdb.destination_spec import DestinationSpec
from onhook.delivery.destinations.broker_client import (
    BrokerClient,
    MessageOutcome,
    NameRefused,
    NotConfirmed,
    QueueFull,
    rejected,
)
from onhook.delivery.destinations.broker_message import BrokerMessage
from onhook.delivery.destinations.contract import DeliveryResult
from onhook.delivery.ssrf_guard import SsrfGuard
from tests.delivery.destinations.broker_contract import notification
from tests.factories import record

ACCEPTED = DeliveryResult(outcome="accepted", detail="stored")


class ScriptedConnection:
    """A connection whose calls have these outcomes, one after another; an exception alone is raised."""

    def __init__(self, script: Sequence[Sequence[MessageOutcome] | Exception]) -> None:
        self._script = list(script)

    async def publish(self, messages: Sequence[BrokerMessage], until: float) -> Sequence[MessageOutcome]:
        outcomes = self._script.pop(0)
        if isinstance(outcomes, Exception):
            raise outcomes
        return outcomes

    async def is_open(self) -> bool:
        return True

    async def close(self) -> None:
        """Close nothing."""


class ScriptedDriver:
    """See `broker_client.BrokerDriver`."""

    name = "scripted"
    errors: tuple[type[Exception], ...] = ()

    def __init__(self, script: Sequence[Sequence[MessageOutcome] | Exception]) -> None:
        self._connection = ScriptedConnection(script)

    async def connect(self, _password: str) -> ScriptedConnection:
        return self._connection

    def is_login_error(self, _error: Exception) -> bool:
        return False


async def send(subject: str, count: int, *script: Sequence[MessageOutcome] | Exception) -> Sequence[DeliveryResult]:
    spec = DestinationSpec(kind="nats", url="nats://192.0.2.1", fields={"subject": subject})
    client = BrokerClient(spec, (), SsrfGuard(True), ScriptedDriver(script))
    try:
        return await client.send([notification(record()) for _ in range(count)])
    finally:
        await client.close()


@pytest.mark.parametrize(
    ("subject", "outcomes", "expected"),
    [
        ("calls.{sn}", [NameRefused("no stream"), NameRefused("no stream")], ["rejected", "rejected"]),
        ("calls", [NameRefused("no stream"), NameRefused("no stream")], ["unreachable", "unreachable"]),
        ("calls.{type}", [NameRefused("no stream")], ["unreachable"]),
        ("calls.{sn}", [QueueFull("full"), QueueFull("full")], ["rejected", "rejected"]),
        ("calls", [QueueFull("full"), ACCEPTED], ["unreachable", "accepted"]),
        ("calls", [NameRefused("no queue"), ACCEPTED], ["rejected", "accepted"]),
        ("calls.{sn}", [NotConfirmed(), ACCEPTED], ["rejected", "accepted"]),
        ("calls", [NotConfirmed(), ACCEPTED], ["unreachable", "accepted"]),
        ("calls.{sn}", [NotConfirmed(), NotConfirmed()], ["unreachable", "unreachable"]),
        ("calls.{sn}", [ConnectionError("lost"), ACCEPTED], ["unreachable", "accepted"]),
    ],
)
async def test_message_that_a_broker_does_not_take_is_rejected_where_others_may_go_on(
    subject: str, outcomes: list[MessageOutcome], expected: list[str]
) -> None:
    results = await send(subject, len(outcomes), outcomes)
    assert [result.outcome for result in results] == expected
    assert all(result.is_shared == (len(outcomes) > 1) for result in results if result.outcome == "unreachable")


async def test_connection_lost_while_a_rejected_message_is_sent_alone_keeps_the_other_outcomes() -> None:
    """What the broker has stored already must not be sent again."""
    results = await send("calls", 2, [rejected("too large"), ACCEPTED], ConnectionResetError("lost"))
    assert [(result.outcome, result.detail) for result in results] == [("unreachable", "lost"), ("accepted", "stored")]
