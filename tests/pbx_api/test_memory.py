"""Calls in memory answer as the store does."""

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
    """Some hundred legs of an office in Athens."""
    kept = MemoryCalls(SN, ATHENS, ManualClock())
    office = Office(7, ATHENS, OfficePlan(start=datetime(2026, 6, 30, 5, tzinfo=UTC), calls_per_day=100))
    for legs, _ in zip(office.calls(), range(150), strict=False):
        for leg in legs:
            kept.add(leg)
    return kept


async def everything(calls: CallSource) -> list[Call]:
    return list((await calls.list_calls(CallListing())).data)


@pytest.mark.parametrize("is_descending", [False, True])
async def test_records_are_listed_as_a_plain_loop_lists_them(calls: MemoryCalls, is_descending: bool) -> None:
    """In every order, filtered and paged."""
    office = await everything(calls)
    for order_by in RECORD_ORDERS:
        for where in (RecordFilter(), RecordFilter(status="BUSY,NOANSWER"), RecordFilter(call_to="6400")):
            asked = RecordListing(filter=where, order_by=order_by, is_descending=is_descending, local_since=LOCAL_NOON)
            found, expected = await calls.list_records(asked), plain.list_records(office, asked)
            assert found.total == len(expected) > 0
            assert [getattr(one, order_by) for one in found.data] == [getattr(one, order_by) for one in expected]


@pytest.mark.parametrize("is_descending", [False, True])
async def test_calls_are_listed_as_a_plain_loop_lists_them(calls: MemoryCalls, is_descending: bool) -> None:
    """The same, with queues."""
    office = await everything(calls)
    for order_by in CALL_ORDERS:
        asked = CallListing(queues=("6400",), order_by=order_by, is_descending=is_descending, offset=2, limit=5)
        found, expected = await calls.list_calls(asked), plain.list_calls(office, asked)
        assert found.total == len(expected) > 7
        assert [getattr(one, order_by) for one in found.data] == [getattr(one, order_by) for one in expected[2:7]]


async def test_a_call_grows_with_its_legs() -> None:
    """A leg that is told later belongs to the same call, also after that was asked for."""
    kept = MemoryCalls(SN, ATHENS, SystemClock())
    kept.add(details(call_id="1777287876.1", call_to="6400", uid="20260427190436AB3D1"))
    assert (await kept.list_calls(CallListing())).data[0].call_to == "6400"
    kept.add(details(call_id="1777287876.1", uid="20260427190436AB3D1"))
    call = await kept.find_call_by_uid("20260427190436AB3D1")
    assert call is not None
    assert len(call.legs) == 2


async def test_memory_is_bounded() -> None:
    """The calls that came first are forgotten first."""
    kept = MemoryCalls(SN, ATHENS, SystemClock(), calls_max=3)
    told = [details() for _ in range(5)]
    for one in told:
        kept.add(one)
    found = await kept.list_records(RecordListing())
    assert [one.call_id for one in found.data] == [one.call_id for one in told[2:]]


async def test_news_are_in_order_and_waited_for() -> None:
    """Whoever waits is woken; numbers follow each other."""
    kept = MemoryCalls(SN, ATHENS, SystemClock())
    waiting = asyncio.create_task(kept.wait(0))
    await asyncio.sleep(0)
    assert not waiting.done()
    told = [details() for _ in range(5)]
    for one in told:
        kept.publish(one)
    await waiting
    assert await kept.latest_sequence() == 5
    assert [new_record.details for new_record in await kept.list_new_records(2, 2)] == told[2:4]
    assert await kept.list_new_records(5, 2) == []


async def test_the_wall_clock_is_that_of_the_zone() -> None:
    """Three hours ahead in June, two in January."""
    kept = MemoryCalls(SN, ZoneInfo("Europe/Athens"), SystemClock())
    for month, hours in ((6, 3), (1, 2)):
        offset = await kept.utc_offset(datetime(2026, month, 1, tzinfo=UTC), ())
        assert offset.total_seconds() == hours * 3600
