"""Status of a destination."""

from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from aiohttp import web

from onhook.appdb.destination_spec import NotifiesOf, PayloadFormat
from onhook.appdb.destinations import DestinationState
from onhook.cdr.record_filter import RecordFilter
from onhook.delivery.destinations.contract import Notification
from onhook.delivery.status import DisplayState, display_state, replay, send_test, view_destination
from onhook.lib.clock import SystemClock
from onhook.lib.errors import UsageError
from onhook.lib.signing import SIGNATURE_HEADER, is_signed_by
from onhook.pbx.yeastar.payload import Yeastar
from tests.delivery.harness import SECRET, DeliveryHarness, WebhookReceiver, make_calls
from tests.factories import STARTED_AT
from tests.server_certificates import create_server_certificate

NOW = datetime(2026, 4, 27, 12, tzinfo=UTC)


async def test_status_pending_counts_records_not_sent(harness: DeliveryHarness) -> None:
    """Of matching calls, with the age of the oldest; replays are counted separately."""
    destination = await harness.add_destination("crm", "http://127.0.0.1:1/", filter=RecordFilter(status="BUSY"))
    await harness.put_calls(*make_calls(2, status="BUSY"), *make_calls(3))
    view = await view_destination(destination, harness.appdb, harness.store, NOW)
    assert (view.pending, view.retrying, view.replays, view.position) == (2, 0, 0, 0)
    assert view.oldest_pending_at == STARTED_AT
    assert await replay(harness.appdb, harness.store, "crm", RecordFilter(since=STARTED_AT), SystemClock()) == 2
    view = await view_destination(destination, harness.appdb, harness.store, NOW)
    assert (view.replays, view.replay_pending, view.pending) == (1, 2, 4)


async def test_status_pending_counts_records_of_a_replay_that_match_both_filters(harness: DeliveryHarness) -> None:
    """As many as the replay said and sends, also where both set the same filter."""
    await harness.put_calls(*make_calls(2, status="BUSY"), *make_calls(3))
    destination = await harness.add_destination(
        "crm", "http://127.0.0.1:1/", after=await harness.store.position(), filter=RecordFilter(status="BUSY")
    )
    for record_filter, count in (
        (RecordFilter(since=STARTED_AT), 2),
        (RecordFilter(since=STARTED_AT, status="ANSWERED"), 0),
        (RecordFilter(since=STARTED_AT, status="!ANSWERED"), 2),
    ):
        before = (await view_destination(destination, harness.appdb, harness.store, NOW)).pending
        assert await replay(harness.appdb, harness.store, "crm", record_filter, SystemClock()) == count
        view = await view_destination(destination, harness.appdb, harness.store, NOW)
        assert view.pending - before == count


@pytest.mark.parametrize(
    ("state", "is_full", "is_failing", "expected_state"),
    [
        ("active", False, False, "active"),
        ("active", False, True, "failing"),
        ("active", True, True, "full"),
        ("paused", True, True, "paused"),
        ("disabled", True, True, "disabled"),
    ],
)
def test_display_state_full_and_failing_are_shown_while_active(
    state: DestinationState, is_full: bool, is_failing: bool, expected_state: DisplayState
) -> None:
    assert display_state(state, is_full=is_full, is_failing=is_failing) == expected_state


async def test_replay_needs_a_start_time(harness: DeliveryHarness) -> None:
    await harness.add_destination("crm", "http://127.0.0.1:1/")
    with pytest.raises(UsageError, match="needs a start time"):
        await replay(harness.appdb, harness.store, "crm", RecordFilter(), SystemClock())


async def test_view_destination_shows_no_key(harness: DeliveryHarness) -> None:
    """Neither the values of headers, nor those in the query of its URL, nor the password of its proxy."""
    destination = await harness.add_destination(
        "crm", "http://127.0.0.1:1/?key=hush", headers={"X-Key": "hush"}, proxy="http://me:hush@127.0.0.1:3128"
    )
    view = await view_destination(destination, harness.appdb, harness.store, NOW)
    assert (view.url, view.headers) == ("http://127.0.0.1:1/?key=…", {"X-Key": "…"})
    assert view.proxy == "http://me:…@127.0.0.1:3128"
    assert b"hush" not in msgspec.json.encode(view)


async def test_view_destination_names_its_certificates(harness: DeliveryHarness, tmp_path: Path) -> None:
    """By subject and expiry, instead of their text."""
    pem = create_server_certificate(tmp_path, "localhost").authority_pem
    destination = await harness.add_destination("crm", "https://127.0.0.1:1/", ca_certificates=pem)
    view = await view_destination(destination, harness.appdb, harness.store, NOW)
    (certificate,) = view.certificates
    assert (certificate.subject, certificate.expires_at > NOW) == ("CN=Test Authority", True)
    assert b"BEGIN" not in msgspec.json.encode(view)


async def test_send_test_has_an_id_of_its_own_each_time(harness: DeliveryHarness, receiver: WebhookReceiver) -> None:
    destination = await harness.add_destination("crm", receiver.url, with_standard_webhooks=True)
    for _unused in range(2):
        client = harness.open_destination(destination, (SECRET,))
        assert (await send_test(client, SystemClock())).accepted
    ids = [headers["webhook-id"] for headers in receiver.headers]
    assert len(set(ids)) == 2
    assert all(notification_id.startswith("test-") for notification_id in ids)
    assert [headers["X-Onhook-Test"] for headers in receiver.headers] == ["true", "true"]
    assert receiver.bodies == [b'{"event":"test"}'] * 2


@pytest.mark.parametrize("payload_format", get_args(PayloadFormat))
async def test_send_test_sample_is_a_call_in_the_format_of_the_destination(
    harness: DeliveryHarness, receiver: WebhookReceiver, payload_format: PayloadFormat
) -> None:
    """Signed and marked as a test."""
    destination = await harness.add_destination("crm", receiver.url, payload_format=payload_format)
    client = harness.open_destination(destination, (SECRET,))
    assert (await send_test(client, SystemClock(), is_sample=True)).accepted
    (details,) = Yeastar().parse(receiver.bodies[0])
    assert (details.status, details.type, details.talk_duration) == ("ANSWERED", "Inbound", 42)
    assert is_signed_by([SECRET], receiver.bodies[0], receiver.headers[0][SIGNATURE_HEADER])
    assert receiver.headers[0]["X-Onhook-Test"] == "true"


@pytest.mark.parametrize(("notifies_of", "member"), [("alarms", "alarm"), ("issues", "issue")])
async def test_send_test_sample_of_an_operational_destination_is_of_its_kind(
    harness: DeliveryHarness, receiver: WebhookReceiver, notifies_of: NotifiesOf, member: str
) -> None:
    destination = await harness.add_destination("pager", receiver.url, notifies_of=notifies_of)
    await send_test(harness.open_destination(destination, (SECRET,)), SystemClock(), is_sample=True)
    assert (receiver.payloads[0]["type"], receiver.payloads[0][member]["ended_at"]) == (member, None)


async def test_notification_that_is_no_test_is_not_marked(harness: DeliveryHarness, receiver: WebhookReceiver) -> None:
    client = harness.open_destination(await harness.add_destination("crm", receiver.url), (SECRET,))
    await client.send([Notification("abc-1", b"{}", 1)])
    await client.close()
    assert "X-Onhook-Test" not in receiver.headers[0]


@pytest.mark.parametrize("accept_redirects", [True, False])
async def test_send_test_redirect_has_advice(
    harness: DeliveryHarness, receiver: WebhookReceiver, accept_redirects: bool
) -> None:
    async def reply(_: web.Request, __: bytes) -> web.Response:
        return web.Response(status=302, headers={"Location": "https://echo.example/?key=hush"})

    receiver.reply = reply
    destination = await harness.add_destination("crm", receiver.url, accept_redirects=accept_redirects)
    result = await send_test(harness.open_destination(destination, (SECRET,)), SystemClock())
    assert result.accepted is accept_redirects
    assert "echo.example" in result.hint
    assert ("--accept-redirects" in result.hint) is not accept_redirects
