"""What every store must hold: a suite that each engine runs, by giving it a fixture `stores` that opens empty ones."""

import asyncio
import contextlib
import csv
import io
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onhook.cdr.call_assembly import PbxFacts, ReportedLeg, assemble_call, to_reported_leg
from onhook.cdr.csv_injection import unescape_formula
from onhook.cdr.record import Call, Record
from onhook.cdr.record_filter import RecordFilter
from onhook.lib.errors import UsageError
from onhook.store.contract import (
    CALL_ORDERS,
    LISTING_ROWS_MAX,
    PAGE_MAX,
    RECORD_ORDERS,
    SUMMARY_DIMENSIONS,
    CallListing,
    ExportFormat,
    QuarantineEntry,
    RecordExtent,
    RecordListing,
    Store,
    StoreBatch,
)
from tests.factories import SN, STARTED_AT, call, details, record
from tests.store import plain
from tests.store.office import FILTERS, LISTINGS, ZONES, calls_of_an_office

Stores = Callable[[], AbstractAsyncContextManager[Store]]

RECORD_COLUMNS = (
    "call_id,time_start,call_from,call_to,call_duration,talk_duration,src_trunk_name,dst_trunk_name,pin_code,status,"
    "type,recording,did_number,did_name,agent_ring_time,uid,call_note_id,enb_call_note,sn,pbx,record_id,started_at,"
    "answered_at,ended_at,ring_duration,utc_offset,offset_from,via,received_at,seq,extra"
)

property_test = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
"""Each example opens a store of its own."""


def batch(
    *calls: Call,
    position: int | None = None,
    quarantined: Sequence[QuarantineEntry] = (),
    read_again: Sequence[int] = (),
) -> StoreBatch:
    """Unless told otherwise it stands for what its legs came from."""
    last = max((leg.seq for call in calls for leg in call.legs), default=1) if position is None else position
    return StoreBatch(calls=calls, quarantined=quarantined, read_again=read_again, position=last)


def unread(seq: int, reason: str = "it says no call") -> QuarantineEntry:
    return QuarantineEntry(seq=seq, sn="3631A2124XXX", via="webhook", received_at=STARTED_AT, reason=reason)


def later(call: Call, **changes: Any) -> Call:
    """The call after another report of its last leg, with other content."""
    said = [to_reported_leg(leg) for leg in call.legs]
    said.append(msgspec.structs.replace(said[-1], details=msgspec.structs.replace(said[-1].details, **changes), seq=99))
    return assemble_call(call.sn, said, PbxFacts(name=call.pbx))


async def all_records(store: Store, where: RecordFilter, limit: int = PAGE_MAX) -> list[Record]:
    page = await store.records(where, limit)
    found = list(page.data)
    while page.next:
        page = await store.records(where, limit, page.next)
        found += page.data
    return found


async def all_calls(store: Store, where: RecordFilter, limit: int = PAGE_MAX) -> list[Call]:
    page = await store.calls(where, limit)
    found = list(page.data)
    while page.next:
        page = await store.calls(where, limit, page.next)
        found += page.data
    return found


async def exported(store: Store, form: ExportFormat, where: RecordFilter = RecordFilter(), zone: str = "UTC") -> bytes:  # noqa: B008 - frozen
    return b"".join([piece async for piece in store.export(where, form, zone)])


def by_name(records: Sequence[Record]) -> list[Record]:
    return sorted(records, key=lambda one: one.record_id)


def assert_same_order(found: Sequence[Any], expected: Sequence[Any], order_by: str) -> None:
    """The same rows; equal by what they are ordered by, place for place. Which of equals is first is not said."""
    assert [getattr(one, order_by) for one in found] == [getattr(one, order_by) for one in expected]
    assert [one.started_at for one in found] == [one.started_at for one in expected]
    assert all(one in expected for one in found)


class StoreContract:
    """The claims."""

    @pytest.fixture
    async def store(self, stores: Stores) -> AsyncIterator[Store]:
        async with stores() as store:
            yield store

    # ---------------------------------------------------------------- putting

    async def test_what_is_forgotten_is_gone(self, store: Store) -> None:
        """Calls by their keys, with all legs, and reports of the quarantine; the rest and the position stay."""
        first, second = call(record(call_id="1777287876.1")), call(record(call_id="1777287876.2"))
        await store.put(batch(first, second, position=7, quarantined=[unread(5), unread(6)]))
        for _ in range(2):
            await store.forget([(SN, "1777287876.1"), (SN, "nobody"), ("nobody", "1777287876.2")], [5, 9])
            assert await all_calls(store, RecordFilter()) == [second]
            assert [leg.call_id for leg in await all_records(store, RecordFilter())] == ["1777287876.2"]
            assert [one.seq for one in await store.quarantine(10)] == [6]
            assert await store.position() == 7

    async def test_an_empty_store_answers(self, store: Store) -> None:
        """Position 0, empty lists, no groups, a CSV of names alone."""
        assert await store.position() == 0
        assert await store.counts() == {"records": 0, "calls": 0, "quarantined": 0, "position": 0}
        assert (await store.records(RecordFilter(), 10)).data == []
        assert (await store.calls(RecordFilter(), 10)).data == []
        assert await store.call("x", "1.1") is None
        assert await store.legs([]) == []
        assert await store.summary(RecordFilter(), "day", "UTC") == []
        assert await exported(store, "csv") == (RECORD_COLUMNS + "\r\n").encode()
        assert await exported(store, "jsonl") == b""

    @property_test
    @given(office=calls_of_an_office())
    async def test_what_is_put_is_read_as_it_was(self, stores: Stores, office: list[Call]) -> None:
        """Each call, with each of its legs, comes back equal in every field, by each way of asking."""
        async with stores() as store:
            await store.put(batch(*office))
            for one in office:
                assert await store.call(one.sn, one.call_id) == one
            records = [leg for one in office for leg in one.legs]
            assert by_name(await store.legs([(one.sn, one.call_id) for one in office])) == by_name(records)
            assert by_name(await all_records(store, RecordFilter())) == by_name(records)
            assert await all_calls(store, RecordFilter()) == plain.calls(office, RecordFilter())

    @property_test
    @given(office=calls_of_an_office())
    async def test_the_same_batch_again_changes_nothing(self, stores: Stores, office: list[Call]) -> None:
        """A projector that died before it knew may put a batch twice."""
        async with stores() as store:
            for _ in range(2):
                await store.put(batch(*office, position=7, quarantined=[unread(3)]))
            assert await store.counts() == {
                "records": sum(len(one.legs) for one in office),
                "calls": len(office),
                "quarantined": 1,
                "position": 7,
            }
            assert await all_calls(store, RecordFilter()) == plain.calls(office, RecordFilter())

    async def test_a_call_replaces_what_stood_under_its_key(self, store: Store) -> None:
        """Also with fewer legs; a call of another PBX with the same id stays."""
        one, other = call(record(call_id="1777287876.1")), call(record(call_id="1777287876.1", sn="other"))
        await store.put(batch(one, other, position=1))
        changed = later(one, status="BUSY", talk_duration=0)
        await store.put(batch(changed, position=2))
        assert await store.call(one.sn, one.call_id) == changed
        assert await store.call("other", one.call_id) == other
        assert (await store.counts())["records"] == 2

    async def test_calls_whose_ids_tell_no_time_are_found_and_replaced(self, store: Store) -> None:
        """An id is opaque: letters, a prefix, anything."""
        ids = ("a1b2", "office-1777287876.1", "1777287876", "é.1", "0.1", "x" * 300)
        calls = [call(record(call_id=call_id)) for call_id in ids]
        for _ in range(2):
            await store.put(batch(*calls))
        assert (await store.counts())["calls"] == len(ids)
        for one in calls:
            assert await store.call(one.sn, one.call_id) == one
            assert (await store.records(RecordFilter(call_id=one.call_id), 10)).data == list(one.legs)

    async def test_the_position_never_goes_back(self, store: Store) -> None:
        """An older batch put again leaves it where it was."""
        await store.put(batch(call(), position=9))
        await store.put(batch(call(), position=4))
        assert await store.position() == 9

    async def test_the_quarantine_is_kept_in_order_and_emptied(self, store: Store) -> None:
        """Read again, a report leaves it; unreadable again, it has its new reason."""
        await store.put(batch(position=5, quarantined=[unread(5), unread(2), unread(3)]))
        assert await store.quarantine(10) == [unread(2), unread(3), unread(5)]
        assert await store.quarantine(1, after=2) == [unread(3)]
        await store.put(batch(position=5, quarantined=[unread(5, "still not")], read_again=[2, 3]))
        assert await store.quarantine(10) == [unread(5, "still not")]

    # ---------------------------------------------------------------- searching

    @property_test
    @given(office=calls_of_an_office(), filters=st.lists(FILTERS, min_size=3, max_size=8))
    async def test_filters_find_exactly_what_a_plain_loop_finds(
        self, stores: Stores, office: list[Call], filters: list[RecordFilter]
    ) -> None:
        """Records by `Filter.matches`, calls by `Filter.matches_call`; the latest first."""
        async with stores() as store:
            await store.put(batch(*office))
            for where in filters:
                assert await all_records(store, where) == plain.records(office, where)
                assert await all_calls(store, where) == plain.calls(office, where)

    @property_test
    @given(office=calls_of_an_office(), limit=st.integers(1, 4), where=FILTERS)
    async def test_pages_give_each_row_once_while_calls_arrive(
        self, stores: Stores, office: list[Call], limit: int, where: RecordFilter
    ) -> None:
        """Half of the calls are there; the others arrive between the pages: the first half is seen once, in order."""
        here, arriving = office[::2], office[1::2]
        async with stores() as store:
            await store.put(batch(*here))
            records, calls = await store.records(where, limit), await store.calls(where, limit)
            seen_records, seen_calls = list(records.data), list(calls.data)
            while records.next or calls.next:
                if arriving:
                    await store.put(batch(arriving.pop()))
                if records.next:
                    records = await store.records(where, limit, records.next)
                    seen_records += records.data
                if calls.next:
                    calls = await store.calls(where, limit, calls.next)
                    seen_calls += calls.data
        keys = {(one.sn, one.call_id) for one in here}
        assert [one for one in seen_records if (one.sn, one.call_id) in keys] == plain.records(here, where)
        assert [one for one in seen_calls if (one.sn, one.call_id) in keys] == plain.calls(here, where)
        assert len({one.record_id for one in seen_records}) == len(seen_records)

    async def test_many_records_of_one_second_are_paged(self, store: Store) -> None:
        """A second in which more calls began than a page holds ends nothing."""
        calls = [call(record()) for _ in range(23)]
        await store.put(batch(*calls))
        assert await all_records(store, RecordFilter(), limit=5) == plain.records(calls, RecordFilter())
        assert await all_calls(store, RecordFilter(), limit=5) == plain.calls(calls, RecordFilter())

    async def test_a_rare_call_far_back_is_found(self, store: Store) -> None:
        """One call of long ago behind thousands of others, and one of the far future before them."""
        old, far = call(record(datetime(1999, 1, 1, tzinfo=UTC))), call(record(datetime(2090, 1, 1, tzinfo=UTC)))
        many = [call(record(STARTED_AT + timedelta(minutes=i), call_from="3")) for i in range(2_000)]
        await store.put(batch(old, far, *many))
        for number in ("1001", "1002"):
            assert (await store.records(RecordFilter(number=number, call_from="1001"), 5)).data == [
                *far.legs,
                *old.legs,
            ]
            assert (await store.calls(RecordFilter(number=number, call_from="1001"), 5)).data == [far, old]

    @pytest.mark.parametrize("cursor", ["", "x", "é", "bnVsbA", "WzEsMl0", "A" * 5000])
    async def test_a_cursor_that_is_none_of_ours_is_refused(self, store: Store, cursor: str) -> None:
        """With one sentence; only an empty one means the first page."""
        await store.put(batch(call()))
        if not cursor:
            assert (await store.records(RecordFilter(), 5, cursor)).data
            return
        for ask in (store.records, store.calls):
            with pytest.raises(UsageError, match="none of ours"):
                await ask(RecordFilter(), 5, cursor)

    async def test_a_cursor_of_records_is_none_of_calls(self, store: Store) -> None:
        """Each list has cursors of its own."""
        await store.put(batch(call(), call()))
        cursor = (await store.records(RecordFilter(), 1)).next
        with pytest.raises(UsageError, match="none of ours"):
            await store.calls(RecordFilter(), 1, cursor)

    @pytest.mark.parametrize("limit", [0, -1, PAGE_MAX + 1])
    async def test_pages_are_bounded(self, store: Store, limit: int) -> None:
        """A page of no row, or of a million, is a mistake."""
        with pytest.raises(UsageError, match="a page has"):
            await store.records(RecordFilter(), limit)

    async def test_a_live_feed_resumes_after_a_number(self, store: Store) -> None:
        """In the order of the reports; what one report said is never cut in two."""
        legs = [record(seq=seq) for seq in (4, 2, 2, 2, 9)]
        await store.put(batch(*(call_of(leg) for leg in legs)))
        seqs = [one.seq for one in await store.records_after(0, 2)]
        assert seqs == [2, 2, 2]
        assert [one.seq for one in await store.records_after(2, 1)] == [4]
        assert [one.seq for one in await store.records_after(4, 10)] == [9]
        assert await store.records_after(9, 10) == []

    async def test_records_after_are_found_across_wide_holes(self, store: Store) -> None:
        """Numbers of reports that were no calls lie between them; who asks gets as many as there are."""
        await store.put(batch(*(call(record(seq=seq)) for seq in (1, 5_000, 900_000)), position=1_000_000))
        assert [one.seq for one in await store.records_after(0, 2)] == [1, 5_000]
        assert [one.seq for one in await store.records_after(1, 10)] == [5_000, 900_000]

    async def test_calls_are_found_by_their_keys(self, store: Store) -> None:
        """Whole, with their legs; keys of no call are passed over."""
        first = record()
        one, other = call(first, record(call_id=first.call_id, call_to="1003")), call(record())
        await store.put(batch(one, other))
        keys = [(one.sn, one.call_id), (other.sn, other.call_id), (SN, "1.1")]
        found = await store.calls_of(keys)
        assert sorted(found, key=lambda call: call.call_id) == sorted((one, other), key=lambda call: call.call_id)
        assert await store.calls_of([]) == []

    async def test_the_extent_of_what_matches(self, store: Store) -> None:
        """How many, from which number to which, and when the first came; nothing where there are none."""
        later = STARTED_AT + timedelta(hours=1)
        legs = [record(seq=5, received_at=later), record(seq=2, status="BUSY"), record(seq=9, status="BUSY")]
        await store.put(batch(*map(call, legs)))
        assert await store.extent(RecordFilter()) == RecordExtent(
            count=3, first_seq=2, last_seq=9, first_received_at=STARTED_AT
        )
        assert await store.extent(RecordFilter(), after=2, until=8) == RecordExtent(
            count=1, first_seq=5, last_seq=5, first_received_at=later
        )
        assert (await store.extent(RecordFilter(status="busy"), after=2)).first_seq == 9
        assert await store.extent(RecordFilter(number="ghost")) == RecordExtent(
            count=0, first_seq=None, last_seq=None, first_received_at=None
        )

    # ---------------------------------------------------------------- pages by number

    @property_test
    @given(office=calls_of_an_office(), asked=st.lists(LISTINGS, min_size=3, max_size=6))
    async def test_listings_hold_what_a_plain_loop_finds(
        self, stores: Stores, office: list[Call], asked: list[tuple[RecordListing, CallListing]]
    ) -> None:
        """The right total, the right rows, in an order that fits what was asked for; pages join without a gap."""
        async with stores() as store:
            await store.put(batch(*office))
            for of_records, of_calls in asked:
                records, calls = plain.listed_records(office, of_records), plain.listed_calls(office, of_calls)
                found, found_calls = await store.listed_records(of_records), await store.listed_calls(of_calls)
                assert (found.total, found_calls.total) == (len(records), len(calls))
                assert_same_order(found.data, records, of_records.order_by)
                assert_same_order(found_calls.data, calls, of_calls.order_by)
                pages = [
                    await store.listed_records(msgspec.structs.replace(of_records, offset=offset, limit=2))
                    for offset in range(0, len(records) + 1, 2)
                ]
                assert [one for page in pages for one in page.data] == list(found.data)

    async def test_a_listing_in_any_order_there_is(self, store: Store) -> None:
        """Both ways; another order, a page of none or of too many are refused with one sentence."""
        await store.put(batch(*(call() for _ in range(3))))
        for order in RECORD_ORDERS:
            assert (await store.listed_records(RecordListing(order_by=order))).total == 3
        for order in CALL_ORDERS:
            assert (await store.listed_calls(CallListing(order_by=order, is_descending=True))).total == 3
        for bad in (
            RecordListing(order_by="colour"),
            RecordListing(limit=0),
            RecordListing(limit=LISTING_ROWS_MAX + 1),
        ):
            with pytest.raises(UsageError):
                await store.listed_records(bad)

    async def test_a_call_is_found_by_its_uid(self, store: Store) -> None:
        """Whole; of the PBXs that may be seen, and the latest of several."""
        legs = [record(call_id="1777287876.1", uid="20260427190436AB3D1", call_to=to) for to in ("6400", "1002")]
        one, other = call(*legs), call(record(call_id="1777287876.2", sn="other", uid="20260427190436AB3D2"))
        await store.put(batch(one, other))
        assert await store.call_with_uid("20260427190436AB3D1") == one
        assert await store.call_with_uid("20260427190436AB3D1", ["other"]) is None
        assert await store.call_with_uid("20260427190436AB3D2", ["other"]) == other
        assert await store.call_with_uid("20260427190436AB3D3") is None

    # ---------------------------------------------------------------- counting

    @property_test
    @given(
        office=calls_of_an_office(),
        zone=st.sampled_from(ZONES),
        by=st.lists(st.sampled_from(SUMMARY_DIMENSIONS), min_size=1, max_size=3, unique=True),
        where=FILTERS,
    )
    async def test_summaries_equal_a_plain_count(
        self, stores: Stores, office: list[Call], zone: str, by: list[str], where: RecordFilter
    ) -> None:
        """By anything and any two or three things, in any zone, also where clocks are changed."""
        async with stores() as store:
            await store.put(batch(*office))
            for filters in (RecordFilter(), where):
                assert await store.summary(filters, ",".join(by), zone) == plain.summary(office, filters, by, zone)

    async def test_the_hour_that_comes_twice_is_two_rows(self, store: Store) -> None:
        """Berlin on 2026-10-25: 02:30 is first +02:00, an hour later +01:00; the day has 25 hours and is one row."""
        first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
        await store.put(batch(*(call(record(first + timedelta(hours=hours))) for hours in (-1, 0, 1, 2))))
        hours = await store.summary(RecordFilter(), "hour", "Europe/Berlin")
        assert [row["hour"] for row in hours] == [
            "2026-10-25T01:00:00+02:00",
            "2026-10-25T02:00:00+02:00",
            "2026-10-25T02:00:00+01:00",
            "2026-10-25T03:00:00+01:00",
        ]
        (day,) = await store.summary(RecordFilter(), "day", "Europe/Berlin")
        assert (day["day"], day["calls"]) == ("2026-10-25T00:00:00+02:00", 4)

    @pytest.mark.parametrize(
        ("by", "zone"), [("", "UTC"), ("colour", "UTC"), ("day,day", "UTC"), ("day", "Mars/Base"), ("day", "../etc")]
    )
    async def test_a_summary_that_cannot_be_meant_is_refused(self, store: Store, by: str, zone: str) -> None:
        """With one sentence that says what may be."""
        with pytest.raises(UsageError):
            await store.summary(RecordFilter(), by, zone)

    # ---------------------------------------------------------------- exporting

    @property_test
    @given(office=calls_of_an_office(), zone=st.sampled_from(ZONES), where=FILTERS)
    async def test_csv_can_be_read_back(
        self, stores: Stores, office: list[Call], zone: str, where: RecordFilter
    ) -> None:
        """Every cell, with moments in the zone asked for; in the order in which the calls began."""
        async with stores() as store:
            await store.put(batch(*office))
            text = (await exported(store, "csv", where, zone)).decode()
        rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
        expected = {one.record_id: one for one in plain.records(office, where)}
        assert [row["started_at"] for row in rows] == [
            plain.cell(one, "started_at", zone) for one in sorted(expected.values(), key=lambda one: one.started_at)
        ]
        for row in rows:
            one = expected.pop(row["record_id"])
            assert {name: unescape_formula(cell) for name, cell in row.items()} == {
                name: plain.cell(one, name, zone) for name in RECORD_COLUMNS.split(",")
            }
        assert not expected

    @property_test
    @given(office=calls_of_an_office(), where=FILTERS)
    async def test_json_lines_are_records(self, stores: Stores, office: list[Call], where: RecordFilter) -> None:
        """One per line, just as the API gives them, the earliest first."""
        async with stores() as store:
            await store.put(batch(*office))
            lines = (await exported(store, "jsonl", where)).splitlines()
        found = [msgspec.json.decode(line, type=Record) for line in lines]
        assert by_name(found) == by_name(plain.records(office, where))
        assert [one.started_at for one in found] == sorted(one.started_at for one in found)
        assert all(json.loads(line)["extra"] == one.extra for line, one in zip(lines, found, strict=True))

    async def test_an_export_sees_one_state(self, store: Store) -> None:
        """What arrives after the first piece was taken is not in it, however long it takes."""
        await store.put(batch(*(call() for _ in range(3))))
        pieces = store.export(RecordFilter(), "csv", "UTC")
        head = await anext(pieces)
        await store.put(batch(*(call() for _ in range(3))))
        rest = b"".join([piece async for piece in pieces])
        assert (head + rest).count(b"\r\n") == 4

    @pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "xlsx"])
    async def test_an_export_that_nobody_reads_to_its_end_leaves_nothing_behind(
        self, store: Store, form: ExportFormat
    ) -> None:
        """The store goes on, and closes."""
        await store.put(batch(*(call() for _ in range(300))))
        pieces = store.export(RecordFilter(), form, "UTC")
        assert await anext(pieces)
        await pieces.aclose()  # type: ignore[attr-defined] # ours are generators
        await store.put(batch(call(), position=2))
        assert (await store.counts())["calls"] == 301

    @pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "xlsx"])
    async def test_an_export_can_be_given_up_at_any_moment(self, store: Store, form: ExportFormat) -> None:
        """Cancelled while it works, it leaves no thread, no file and no view behind."""
        await store.put(batch(*(call() for _ in range(300))))
        for turns in range(12):
            task = asyncio.create_task(exported(store, form))
            for _ in range(turns):
                await asyncio.sleep(0.002)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        assert (await exported(store, "csv")).count(b"\r\n") == 301

    async def test_an_unknown_zone_is_refused(self, store: Store) -> None:
        """Before the first byte."""
        with pytest.raises(UsageError, match="Mars"):
            await exported(store, "csv", zone="Mars/Base")


def call_of(leg: Record) -> Call:
    """A call of one leg, whose report has this leg's number."""
    said = ReportedLeg(details=details(call_id=leg.call_id), seq=leg.seq, via=leg.via, received_at=leg.received_at)
    return assemble_call(leg.sn, [said], PbxFacts(name=leg.pbx))
