"""Errors of workers."""

import logging
from collections.abc import Mapping, Sequence

import pytest
from aiohttp import web

from onhook.appdb.deliveries import Deliveries
from onhook.appdb.delivery_rows import Backlog
from onhook.appdb.destination_spec import DestinationSpec
from onhook.appdb.destinations import Destinations, DestinationState
from onhook.delivery import dispatcher, worker_supervisor
from onhook.delivery.destinations.contract import DestinationClient
from onhook.lib.errors import Unavailable, UsageError
from tests.delivery.harness import DeliveryHarness, WebhookReceiver, make_calls
from tests.waiting import polls, wait_until


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
    await harness.add_destination("crm", receiver.url)
    harness.start()
    await harness.put_calls(*make_calls(3))
    await wait_until(lambda: len(harness.errors) == 2 and len(receiver.accepted) == 3)
    assert harness.errors == [(1, error), (1, None)]


async def test_dispatcher_application_database_unavailable_is_reported_once(
    harness: DeliveryHarness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The settings are read again when it is available, although they have not changed."""
    caplog.set_level(logging.INFO, "delivery")
    monkeypatch.setattr(dispatcher, "POLL_SECONDS", 0.01)
    error, read_count = Unavailable("the database is locked"), 0
    revisions = Destinations.revisions

    async def fail_twice(destinations: Destinations) -> dict[int, tuple[int, DestinationState]]:
        nonlocal read_count
        read_count += 1
        if read_count < 3:
            raise error
        return await revisions(destinations)

    monkeypatch.setattr(Destinations, "revisions", fail_twice)
    harness.start()
    await wait_until(lambda: len(caplog.records) == 2)
    assert [line.message for line in caplog.records] == [
        "cannot read the application database: destinations are served with their last settings",
        "the application database can be read again",
    ]
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
    await harness.add_destination("crm", receiver.url)
    await harness.put_calls(*make_calls(3))
    harness.start()
    await wait_until((await harness.appdb.destinations.get("crm")).state == "disabled" async for _ in polls())
    await wait_until(lambda: harness.issues == [("disabled", True)])
    assert harness.errors == [(1, error)]
    receiver.reply = None
    await harness.appdb.destinations.set_state("crm", "active")
    await wait_until(lambda: len(harness.errors) == 2 and len(receiver.accepted) == 3)
    assert harness.errors == [(1, error), (1, None)]


async def test_dispatcher_changed_destination_that_fails_again_is_reported_again(
    harness: DeliveryHarness, receiver: WebhookReceiver
) -> None:
    """A person has changed it in the meantime and expects it to work."""
    errors = [Unavailable("before the change"), Unavailable("after the change")]

    def fail(spec: DestinationSpec, _secrets: Sequence[str]) -> DestinationClient:
        raise errors[spec.method == "GET"]

    harness.open_destination = fail
    await harness.add_destination("crm", receiver.url)
    harness.start()
    await wait_until(lambda: len(harness.errors) == 1)
    await harness.appdb.destinations.change("crm", {"method": "GET"})
    await wait_until(lambda: len(harness.errors) == 2)
    assert harness.errors == [(1, errors[0]), (1, errors[1])]


async def test_dispatcher_failure_with_another_error_is_reported_with_the_name(
    harness: DeliveryHarness, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same error again is not."""
    monkeypatch.setattr(worker_supervisor, "RESTART_SECONDS_FIRST", 0.01)
    errors = [Unavailable("no memory"), Unavailable("no memory"), UsageError("the secret is invalid")]
    remaining_errors, open_destination = list(errors), harness.open_destination

    def fail(spec: DestinationSpec, secrets: Sequence[str]) -> DestinationClient:
        if remaining_errors:
            raise remaining_errors.pop(0)
        return open_destination(spec, secrets)

    harness.open_destination = fail
    await harness.add_destination("crm", receiver.url)
    harness.start()
    await wait_until(lambda: len(harness.errors) == 3)
    assert harness.errors == [(1, errors[0]), (1, errors[2]), (1, None)]
    assert harness.error_names == ["crm"] * 3


async def test_dispatcher_failed_issue_check_is_logged_once(
    harness: DeliveryHarness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Destinations are served meanwhile."""
    caplog.set_level(logging.INFO, "delivery")
    monkeypatch.setattr(dispatcher, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(dispatcher, "ISSUE_CHECK_SECONDS", 0.0)
    remaining_errors, backlogs = [Unavailable("the database is locked")] * 2, Deliveries.backlogs

    async def fail_twice(deliveries: Deliveries) -> Mapping[int, Backlog]:
        if remaining_errors:
            raise remaining_errors.pop()
        return await backlogs(deliveries)

    monkeypatch.setattr(Deliveries, "backlogs", fail_twice)
    harness.start()
    await wait_until(lambda: len(caplog.records) == 2)
    assert [line.message for line in caplog.records] == [
        "cannot check destinations for issues",
        "destinations can be checked for issues again",
    ]
