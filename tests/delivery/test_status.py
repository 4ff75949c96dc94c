"""Status of a destination."""

from datetime import UTC, datetime

import msgspec
import pytest

from onhook.appdb.destinations import DestinationState
from onhook.cdr.record_filter import RecordFilter
from onhook.delivery.status import DisplayState, display_state, replay, view_destination
from onhook.lib.clock import SystemClock
from onhook.lib.errors import UsageError
from tests.delivery.harness import DeliveryHarness, make_calls
from tests.factories import STARTED_AT

NOW = datetime(2026, 4, 27, 12, tzinfo=UTC)


async def test_status_pending_counts_records_not_sent(harness: DeliveryHarness) -> None:
    """Of matching calls, with the age of the oldest; replays are counted separately."""
    destination = harness.add_destination("crm", "http://127.0.0.1:1/", filter=RecordFilter(status="BUSY"))
    await harness.put_calls(*make_calls(2, status="BUSY"), *make_calls(3))
    view = await view_destination(destination, harness.appdb, harness.store, NOW)
    assert (view.pending, view.retrying, view.replays, view.position) == (2, 0, 0, 0)
    assert view.oldest_pending_at == STARTED_AT
    assert await replay(harness.appdb, harness.store, "crm", RecordFilter(since=STARTED_AT), SystemClock()) == 2
    assert (await view_destination(destination, harness.appdb, harness.store, NOW)).replays == 1


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
    harness.add_destination("crm", "http://127.0.0.1:1/")
    with pytest.raises(UsageError, match="needs a start time"):
        await replay(harness.appdb, harness.store, "crm", RecordFilter(), SystemClock())


async def test_view_destination_shows_no_key(harness: DeliveryHarness) -> None:
    """Neither the values of headers nor those in the query of its URL."""
    destination = harness.add_destination("crm", "http://127.0.0.1:1/?key=hush", headers={"X-Key": "hush"})
    view = await view_destination(destination, harness.appdb, harness.store, NOW)
    assert (view.url, view.headers) == ("http://127.0.0.1:1/?key=…", {"X-Key": "…"})
    assert b"hush" not in msgspec.json.encode(view)
