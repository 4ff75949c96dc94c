"""How a subscription stands."""

from datetime import UTC, datetime

import msgspec
import pytest

from onhook.cdr.record_filter import RecordFilter
from onhook.delivery.status import load_status, replay, view_destination
from onhook.lib.clock import SystemClock
from onhook.lib.errors import UsageError
from tests.delivery.harness import House, some_calls
from tests.factories import STARTED_AT

NOW = datetime(2026, 4, 27, 12, tzinfo=UTC)


async def test_what_is_owed_is_what_was_not_sent(house: House) -> None:
    """Of the calls that are wanted, since the oldest of them came; replays are counted beside it."""
    one = house.subscribe("crm", "http://127.0.0.1:1/", where=RecordFilter(status="BUSY"))
    await house.say(*some_calls(2, status="BUSY"), *some_calls(3))
    owing = await load_status(one, house.settings, house.store)
    assert (owing.owed, owing.waiting, owing.replays, owing.position) == (2, 0, 0, 0)
    assert owing.oldest_owed_at == STARTED_AT
    assert await replay(house.settings, house.store, "crm", RecordFilter(since=STARTED_AT), SystemClock()) == 2
    assert (await load_status(one, house.settings, house.store)).replays == 1


async def test_a_replay_needs_a_beginning(house: House) -> None:
    """Everything ever is meant by nobody."""
    house.subscribe("crm", "http://127.0.0.1:1/")
    with pytest.raises(UsageError, match="needs a beginning"):
        await replay(house.settings, house.store, "crm", RecordFilter(), SystemClock())


async def test_no_key_is_shown(house: House) -> None:
    """Neither the values of headers nor those in the query of its address."""
    one = house.subscribe("crm", "http://127.0.0.1:1/?key=hush", headers={"X-Key": "hush"})
    said = await view_destination(one, house.settings, house.store, NOW)
    assert (said.subscription.url, said.subscription.headers) == ("http://127.0.0.1:1/?key=…", {"X-Key": "…"})
    assert b"hush" not in msgspec.json.encode(said)
