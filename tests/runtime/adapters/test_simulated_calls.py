"""Calls of a simulated PBX: queries from a real store, which sees every call that was added before, and its events."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import pytest

from onhook.lib.errors import Unavailable
from onhook.runtime.adapters import simulated_calls
from onhook.runtime.adapters.simulated_calls import SimulatedCalls, open_simulated_calls
from onhook.simulator.office import Office, OfficePlan
from onhook.store.contract import CallListing, RecordListing
from onhook.store.duckdb import DuckDbStore
from tests.factories import details
from tests.pbx_api.harness import ATHENS, SN, ManualClock

UID = "20260427190436AB3D1"


@pytest.fixture
async def calls() -> AsyncIterator[SimulatedCalls]:
    async with open_simulated_calls(SN, ATHENS, ManualClock()) as (opened_calls, _task):
        yield opened_calls


async def list_call_ids(calls: SimulatedCalls) -> list[str]:
    return [record.call_id for record in (await calls.list_records(RecordListing(order_by="seq"))).data]


async def test_simulated_calls_query_sees_every_call_added_before(
    calls: SimulatedCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While others are stored, and in several transactions."""
    monkeypatch.setattr(simulated_calls, "CALLS_PER_TRANSACTION", 7)
    office_calls = list(islice(Office(7, ATHENS, OfficePlan(calls_per_day=100)).calls(), 60))
    added: list[str] = []
    for legs in office_calls:
        for leg in legs:
            calls.record_made(leg)
            added.append(leg.call_id)
        if len(added) % 5 == 0:
            assert await list_call_ids(calls) == added
    assert await list_call_ids(calls) == added
    assert (await calls.list_calls(CallListing())).total == len(office_calls)


async def test_simulated_calls_later_leg_belongs_to_the_same_call(calls: SimulatedCalls) -> None:
    """Also after the call was read."""
    calls.record_made(details(call_id="1777287876.1", call_to="6400", uid=UID))
    assert (await calls.list_calls(CallListing())).data[0].call_to == "6400"
    calls.record_made(details(call_id="1777287876.1", uid=UID))
    call = await calls.find_call_by_uid(UID)
    assert call is not None
    assert len(call.legs) == 2
    assert await calls.find_call_by_uid(UID, ["3699OTHER000"]) is None


@pytest.mark.parametrize("is_read_in_between", [False, True])
async def test_simulated_calls_over_the_limit_remove_the_oldest(is_read_in_between: bool) -> None:
    """From the store, and from the calls that wait for it."""
    async with open_simulated_calls(SN, ATHENS, ManualClock(), calls_max=3) as (calls, _task):
        all_details = [details() for _ in range(8)]
        for leg_details in all_details:
            calls.record_made(leg_details)
            if is_read_in_between:
                await list_call_ids(calls)
        assert await list_call_ids(calls) == [leg_details.call_id for leg_details in all_details[5:]]


async def test_simulated_calls_are_stored_once_the_store_is_available_again(
    calls: SimulatedCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulated_calls, "RETRY_SECONDS", 0.01)
    failures = iter([Unavailable("the disk is missing"), Unavailable("the disk is missing")])
    put = DuckDbStore.put

    async def put_or_fail(store: DuckDbStore, batch: Any) -> None:
        for error in failures:
            raise error
        await put(store, batch)

    monkeypatch.setattr(DuckDbStore, "put", put_or_fail)
    leg_details = details()
    calls.record_made(leg_details)
    assert await list_call_ids(calls) == [leg_details.call_id]


async def test_simulated_calls_new_records_are_in_order_and_wake_readers(calls: SimulatedCalls) -> None:
    """Numbers are consecutive."""
    waiting = asyncio.create_task(calls.wait(0))
    await asyncio.sleep(0)
    assert not waiting.done()
    all_details = [details() for _ in range(5)]
    for leg_details in all_details:
        calls.record_sent(leg_details, b"")
    await waiting
    assert await calls.latest_sequence() == 5
    assert [new_record.details for new_record in await calls.list_new_records(2, 2)] == all_details[2:4]
    assert await calls.list_new_records(5, 2) == []


async def test_simulated_calls_utc_offset_is_that_of_the_zone(calls: SimulatedCalls) -> None:
    """Three hours in June, two in January."""
    for month, hours in ((6, 3), (1, 2)):
        assert await calls.utc_offset(datetime(2026, month, 1, tzinfo=UTC), ()) == timedelta(hours=hours)
