"""How a subscription stands."""

from datetime import UTC, datetime

import msgspec
import pytest

from onhook.cdr.record_filter import RecordFilter
from onhook.delivery.status import load_status, replay, view_destination
from onhook.lib.clock import SystemClock
from onhook.lib.errors import UsageError
from tests.delivery.harness import DeliveryHarness, make_calls
from tests.factories import STARTED_AT

NOW = datetime(2026, 4, 27, 12, tzinfo=UTC)


async def test_what_is_owed_is_what_was_not_sent(harness: DeliveryHarness) -> None:
    """Of the calls that are wanted, since the oldest of them came; replays are counted beside it."""
    one = harness.add_destination("crm", "http://127.0.0.1:1/", filter=RecordFilter(status="BUSY"))
    await harness.put_calls(*make_calls(2, status="BUSY"), *make_calls(3))
    owing = await load_status(one, harness.appdb, harness.store)
    assert (owing.pending, owing.retrying, owing.replays, owing.position) == (2, 0, 0, 0)
    assert owing.oldest_pending_at == STARTED_AT
    assert await replay(harness.appdb, harness.store, "crm", RecordFilter(since=STARTED_AT), SystemClock()) == 2
    assert (await load_status(one, harness.appdb, harness.store)).replays == 1


async def test_a_replay_needs_a_beginning(harness: DeliveryHarness) -> None:
    """Everything ever is meant by nobody."""
    harness.add_destination("crm", "http://127.0.0.1:1/")
    with pytest.raises(UsageError, match="needs a start time"):
        await replay(harness.appdb, harness.store, "crm", RecordFilter(), SystemClock())


async def test_no_key_is_shown(harness: DeliveryHarness) -> None:
    """Neither the values of headers nor those in the query of its address."""
    one = harness.add_destination("crm", "http://127.0.0.1:1/?key=hush", headers={"X-Key": "hush"})
    said = await view_destination(one, harness.appdb, harness.store, NOW)
    assert (said.url, said.headers) == ("http://127.0.0.1:1/?key=…", {"X-Key": "…"})
    assert b"hush" not in msgspec.json.encode(said)
