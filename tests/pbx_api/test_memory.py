"""Calls in memory give the same results as the store."""

import asyncio
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from onhook.cdr.record import Call
from onhook.cdr.record_filter import RecordFilter
from onhook.lib.clock import SystemClock
from onhook.pbx_api.calls import CallSource
from onhook.pbx_api.memory import MemoryCalls
from onhook.simulator.office import Office, OfficePlan
from onhook.store.contract import CALL_ORDERS, RECORD_ORDERS, CallListing, RecordListing
from tests.factories import details
from tests.pbx_api.harness import ATHENS, SN, ManualClock
from tests.store import plain

LOCAL_NOON = int(datetime(2026, 6, 30, 12, tzinfo=UTC).timestamp())


@pytest.fixture(scope="module")
def calls() -> MemoryCalls:
    """Return some hundred legs of an office in Athens."""
    memory_calls = MemoryCalls(SN, ATHENS, ManualClock())
    office = Office(7, ATHENS, OfficePlan(start=datetime(2026, 6, 30, 5, tzinfo=UTC), calls_per_day=100))
    for legs, _ in zip(office.calls(), range(150), strict=False):
        for leg in legs:
            memory_calls.add(leg)
    return memory_calls


async def list_all_calls(calls: CallSource) -> list[Call]:
    return list((await calls.list_calls(CallListing())).data)


@pytest.mark.parametrize("is_descending", [False, True])
async def test_memory_calls_records_equal_the_oracle(calls: MemoryCalls, is_descending: bool) -> None:
    """In every order, filtered and paged."""
    office = await list_all_calls(calls)
    for order_by in RECORD_ORDERS:
        for where in (RecordFilter(), RecordFilter(status="BUSY,NOANSWER"), RecordFilter(call_to="6400")):
            listing = RecordListing(
                filter=where, order_by=order_by, is_descending=is_descending, local_since=LOCAL_NOON
            )
            result, expected = await calls.list_records(listing), plain.list_records(office, listing)
            assert result.total == len(expected) > 0
            assert [getattr(row, order_by) for row in result.data] == [getattr(row, order_by) for row in expected]


@pytest.mark.parametrize("is_descending", [False, True])
async def test_memory_calls_calls_equal_the_oracle(calls: MemoryCalls, is_descending: bool) -> None:
    """With queues."""
    office = await list_all_calls(calls)
    for order_by in CALL_ORDERS:
        listing = CallListing(queues=("6400",), order_by=order_by, is_descending=is_descending, offset=2, limit=5)
        result, expected = await calls.list_calls(listing), plain.list_calls(office, listing)
        assert result.total == len(expected) > 7
        assert [getattr(row, order_by) for row in result.data] == [getattr(row, order_by) for row in expected[2:7]]


async def test_memory_calls_later_leg_belongs_to_the_same_call() -> None:
    """Also after the call was read."""
    memory_calls = MemoryCalls(SN, ATHENS, SystemClock())
    memory_calls.add(details(call_id="1777287876.1", call_to="6400", uid="20260427190436AB3D1"))
    assert (await memory_calls.list_calls(CallListing())).data[0].call_to == "6400"
    memory_calls.add(details(call_id="1777287876.1", uid="20260427190436AB3D1"))
    call = await memory_calls.find_call_by_uid("20260427190436AB3D1")
    assert call is not None
    assert len(call.legs) == 2


async def test_memory_calls_over_the_limit_remove_the_oldest() -> None:
    memory_calls = MemoryCalls(SN, ATHENS, SystemClock(), calls_max=3)
    all_details = [details() for _ in range(5)]
    for leg_details in all_details:
        memory_calls.add(leg_details)
    result = await memory_calls.list_records(RecordListing())
    assert [leg_details.call_id for leg_details in result.data] == [
        leg_details.call_id for leg_details in all_details[2:]
    ]


async def test_memory_calls_new_records_are_in_order_and_wake_readers() -> None:
    """Numbers are consecutive."""
    memory_calls = MemoryCalls(SN, ATHENS, SystemClock())
    waiting = asyncio.create_task(memory_calls.wait(0))
    await asyncio.sleep(0)
    assert not waiting.done()
    all_details = [details() for _ in range(5)]
    for leg_details in all_details:
        memory_calls.publish(leg_details)
    await waiting
    assert await memory_calls.latest_sequence() == 5
    assert [new_record.details for new_record in await memory_calls.list_new_records(2, 2)] == all_details[2:4]
    assert await memory_calls.list_new_records(5, 2) == []


async def test_memory_calls_utc_offset_is_that_of_the_zone() -> None:
    """Three hours in June, two in January."""
    memory_calls = MemoryCalls(SN, ZoneInfo("Europe/Athens"), SystemClock())
    for month, hours in ((6, 3), (1, 2)):
        offset = await memory_calls.utc_offset(datetime(2026, month, 1, tzinfo=UTC), ())
        assert offset.total_seconds() == hours * 3600
