"""Errors of workers."""

from collections.abc import Sequence

import pytest
from aiohttp import web

from onhook.appdb.destination_spec import DestinationSpec
from onhook.appdb.destinations import Destinations, DestinationState
from onhook.delivery import dispatcher, worker_supervisor
from onhook.delivery.destinations.contract import DestinationClient
from onhook.lib.errors import Unavailable, UsageError
from tests.delivery.harness import DeliveryHarness, WebhookReceiver, make_calls, wait_until


def fail_first_open(harness: DeliveryHarness) -> UsageError:
    """Let the first attempt to open a destination fail; return its error."""
    error, open_destination = UsageError("the secret is invalid"), harness.open_destination

    def fail(_: DestinationSpec, __: Sequence[str]) -> DestinationClient:
        harness.open_destination = open_destination
        raise error

    harness.open_destination = fail
    return error


async def test_dispatcher_failure_followed_by_success_reports_both_once(
    harness: DeliveryHarness, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_supervisor, "RESTART_SECONDS_FIRST", 0.05)
    error = fail_first_open(harness)
    harness.add_destination("crm", receiver.url)
    harness.start()
    await harness.put_calls(*make_calls(3))
    await wait_until(lambda: len(harness.errors) == 2 and len(receiver.accepted) == 3)
    assert harness.errors == [("destination 1", error), ("destination 1", None)]


async def test_dispatcher_application_database_unavailable_is_reported_once(
    harness: DeliveryHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The settings are read again when it is available, although they have not changed."""
    monkeypatch.setattr(dispatcher, "POLL_SECONDS", 0.01)
    error, read_count = Unavailable("the database is locked"), 0
    revisions = Destinations.revisions

    def fail_twice(destinations: Destinations) -> dict[int, tuple[int, DestinationState]]:
        nonlocal read_count
        read_count += 1
        if read_count < 3:
            raise error
        return revisions(destinations)

    monkeypatch.setattr(Destinations, "revisions", fail_twice)
    harness.start()
    await wait_until(lambda: len(harness.errors) == 2)
    assert harness.errors == [("application database", error), ("application database", None)]
    assert read_count == 3


async def test_dispatcher_failure_followed_by_410_reports_no_success(
    harness: DeliveryHarness, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first success after the operator has resumed the destination ends the error."""
    monkeypatch.setattr(worker_supervisor, "RESTART_SECONDS_FIRST", 0.05)

    async def reply(_: web.Request, __: bytes) -> int:
        return 410

    monkeypatch.setattr(dispatcher, "ISSUE_CHECK_SECONDS", 0.1)
    receiver.reply = reply
    error = fail_first_open(harness)
    harness.add_destination("crm", receiver.url)
    await harness.put_calls(*make_calls(3))
    harness.start()
    await wait_until(lambda: harness.appdb.destinations.get("crm").state == "disabled")
    await wait_until(lambda: harness.issues == [("disabled", True)])
    assert harness.errors == [("destination 1", error)]
    receiver.reply = None
    harness.appdb.destinations.set_state("crm", "active")
    await wait_until(lambda: len(harness.errors) == 2 and len(receiver.accepted) == 3)
    assert harness.errors == [("destination 1", error), ("destination 1", None)]
