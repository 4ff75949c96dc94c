"""Contract tests of a store. Each engine runs them with a fixture `stores` that opens empty stores."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onhook.cdr.call_assembly import PbxFacts, ReportedLeg, assemble_call, to_reported_leg
from onhook.cdr.directory import NameDirectory
from onhook.cdr.identity import record_id, record_key
from onhook.cdr.record import Call, Record
from onhook.cdr.record_filter import RecordFilter
from onhook.lib.errors import UsageError
from onhook.store.contract import (
    CALL_ORDERS,
    LISTING_ROWS_MAX,
    PAGE_MAX,
    RECORD_ORDERS,
    CallListing,
    ExportFormat,
    QuarantineEntry,
    RecordExtent,
    RecordListing,
    Store,
    StoreBatch,
)
from tests.counts import examples
from tests.factories import SN, STARTED_AT, call, details, record
from tests.store import plain
from tests.store.office import EXTRA_FILTERS, EXTRAS, FILTERS, LISTINGS, office_calls

OpenStoreFixture = Callable[[], AbstractAsyncContextManager[Store]]

RECORD_COLUMNS = (
    "call_id,time_start,call_from,call_to,call_duration,talk_duration,src_trunk_name,dst_trunk_name,pin_code,status,"
    "type,recording,did_number,did_name,agent_ring_time,uid,call_note_id,enb_call_note,sn,pbx,record_id,started_at,"
    "answered_at,ended_at,ring_duration,utc_offset,offset_from,is_ambiguous,is_shifted,via,received_at,seq,extra"
)

property_test = settings(
    max_examples=examples(15),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
"""Each example opens its own store."""


def batch(
    *calls: Call,
    position: int | None = None,
    quarantined: Sequence[QuarantineEntry] = (),
    reparsed_seqs: Sequence[int] = (),
) -> StoreBatch:
    """Return a batch of these calls; by default its position is their highest number."""
    last = max((leg.seq for call in calls for leg in call.legs), default=1) if position is None else position
    return StoreBatch(calls=calls, quarantined=quarantined, reparsed_seqs=reparsed_seqs, position=last)


def quarantine_entry(seq: int, reason: str = "it contains no call") -> QuarantineEntry:
    return QuarantineEntry(seq=seq, sn="3631A2124XXX", via="webhook", received_at=STARTED_AT, reason=reason)


def with_changed_last_leg(call: Call, **changes: Any) -> Call:
    """Return the call after another report of its last leg, with other content."""
    reported_legs = [to_reported_leg(leg) for leg in call.legs]
    reported_legs.append(
        msgspec.structs.replace(
            reported_legs[-1], details=msgspec.structs.replace(reported_legs[-1].details, **changes), seq=99
        )
    )
    return assemble_call(call.sn, reported_legs, PbxFacts(name=call.pbx))


async def all_records(store: Store, record_filter: RecordFilter, limit: int = PAGE_MAX) -> list[Record]:
    page = await store.records(record_filter, limit)
    matches = list(page.data)
    while page.next:
        page = await store.records(record_filter, limit, page.next)
        matches += page.data
    return matches


async def all_calls(store: Store, record_filter: RecordFilter, limit: int = PAGE_MAX) -> list[Call]:
    page = await store.calls(record_filter, limit)
    matches = list(page.data)
    while page.next:
        page = await store.calls(record_filter, limit, page.next)
        matches += page.data
    return matches


async def export_bytes(
    store: Store,
    export_format: ExportFormat,
    record_filter: RecordFilter = RecordFilter(),  # noqa: B008 - frozen
    zone: str = "UTC",
    names: NameDirectory | None = None,
) -> bytes:
    return b"".join([chunk async for chunk in store.export(record_filter, export_format, zone, names=names)])


def sort_by_record_id(records: Sequence[Record]) -> list[Record]:
    return sorted(records, key=lambda item: item.record_id)


def assert_same_order(actual: Sequence[Any], expected: Sequence[Any], order_by: str) -> None:
    """Assert that the rows are the same and have the same sort keys in each place; the order of equal rows is free."""
    assert [getattr(row, order_by) for row in actual] == [getattr(row, order_by) for row in expected]
    assert [row.started_at for row in actual] == [row.started_at for row in expected]
    assert all(row in expected for row in actual)


class StoreContract:
    """Tests of writing, searching and counting."""

    @pytest.fixture
    async def store(self, stores: OpenStoreFixture) -> AsyncIterator[Store]:
        async with stores() as store:
            yield store

    # Writing

    async def test_delete_removes_calls_and_quarantine_entries(self, store: Store) -> None:
        """The other calls and the position stay."""
        first, second = call(record(call_id="1777287876.1")), call(record(call_id="1777287876.2"))
        await store.put(batch(first, second, position=7, quarantined=[quarantine_entry(5), quarantine_entry(6)]))
        for _ in range(2):
            await store.delete([(SN, "1777287876.1"), (SN, "missing"), ("missing", "1777287876.2")], [5, 9])
            assert await all_calls(store, RecordFilter()) == [second]
            assert [leg.call_id for leg in await all_records(store, RecordFilter())] == ["1777287876.2"]
            assert [entry.seq for entry in await store.quarantine(10)] == [6]
            assert await store.position() == 7

    @pytest.mark.parametrize("members", [{"callee_kind": "conference"}, {"identified_by": "channel"}])
    async def test_legs_of_several_callers_with_one_start_and_number_have_their_own_ids(
        self, store: Store, members: dict[str, str]
    ) -> None:
        """The ids are those of the records that were put."""
        callers = ("PJSIP/1001-00000001", "PJSIP/1002-00000002")
        legs = [record(extra={**members, "channel": caller, "dst_channel": ""}) for caller in callers]
        await store.put(batch(call(*legs)))
        stored_ids = {leg.record_id for leg in await all_records(store, RecordFilter())}
        assert stored_ids == {record_id(record_key(SN, leg)) for leg in legs}
        assert len(stored_ids) == 2

    async def test_empty_store_returns_nothing(self, store: Store) -> None:
        assert await store.position() == 0
        assert await store.counts() == {"records": 0, "calls": 0, "quarantined": 0, "position": 0}
        assert (await store.records(RecordFilter(), 10)).data == []
        assert (await store.calls(RecordFilter(), 10)).data == []
        assert await store.call("x", "1.1") is None
        assert await store.legs([]) == []
        assert await store.summary(RecordFilter(), "day", "UTC") == []
        assert await export_bytes(store, "csv") == (RECORD_COLUMNS + "\r\n").encode()
        assert await export_bytes(store, "jsonl") == b""

    @property_test
    @given(office=office_calls())
    async def test_put_calls_are_read_back_unchanged(self, stores: OpenStoreFixture, office: list[Call]) -> None:
        async with stores() as store:
            await store.put(batch(*office))
            for expected_call in office:
                assert await store.call(expected_call.sn, expected_call.call_id) == expected_call
            records = [leg for expected_call in office for leg in expected_call.legs]
            assert sort_by_record_id(
                await store.legs([(expected_call.sn, expected_call.call_id) for expected_call in office])
            ) == sort_by_record_id(records)
            assert sort_by_record_id(await all_records(store, RecordFilter())) == sort_by_record_id(records)
            assert await all_calls(store, RecordFilter()) == plain.calls(office, RecordFilter())

    @property_test
    @given(office=office_calls())
    async def test_put_same_batch_again_changes_nothing(self, stores: OpenStoreFixture, office: list[Call]) -> None:
        """A projector that was killed before the acknowledgement stores a batch twice."""
        async with stores() as store:
            for _ in range(2):
                await store.put(batch(*office, position=7, quarantined=[quarantine_entry(3)]))
            assert await store.counts() == {
                "records": sum(len(expected_call.legs) for expected_call in office),
                "calls": len(office),
                "quarantined": 1,
                "position": 7,
            }
            assert await all_calls(store, RecordFilter()) == plain.calls(office, RecordFilter())

    async def test_put_call_replaces_call_with_same_key(self, store: Store) -> None:
        """A call of another PBX with the same id stays."""
        first_call, other_pbx_call = (
            call(record(call_id="1777287876.1")),
            call(record(call_id="1777287876.1", sn="other")),
        )
        await store.put(batch(first_call, other_pbx_call, position=1))
        changed_call = with_changed_last_leg(first_call, status="BUSY", talk_duration=0)
        await store.put(batch(changed_call, position=2))
        assert await store.call(first_call.sn, first_call.call_id) == changed_call
        assert await store.call("other", first_call.call_id) == other_pbx_call
        assert (await store.counts())["records"] == 2

    async def test_put_calls_with_opaque_ids_are_found_and_replaced(self, store: Store) -> None:
        ids = ("a1b2", "office-1777287876.1", "1777287876", "é.1", "0.1", "x" * 300)
        calls = [call(record(call_id=call_id)) for call_id in ids]
        for _ in range(2):
            await store.put(batch(*calls))
        assert (await store.counts())["calls"] == len(ids)
        for expected_call in calls:
            assert await store.call(expected_call.sn, expected_call.call_id) == expected_call
            assert (await store.records(RecordFilter(call_id=expected_call.call_id), 10)).data == list(
                expected_call.legs
            )

    async def test_put_older_batch_keeps_position(self, store: Store) -> None:
        await store.put(batch(call(), position=9))
        await store.put(batch(call(), position=4))
        assert await store.position() == 9

    async def test_quarantine_is_ordered_and_emptied_by_reparsing(self, store: Store) -> None:
        """An entry that is still unreadable gets its new reason."""
        await store.put(batch(position=5, quarantined=[quarantine_entry(5), quarantine_entry(2), quarantine_entry(3)]))
        assert await store.quarantine(10) == [quarantine_entry(2), quarantine_entry(3), quarantine_entry(5)]
        assert await store.quarantine(1, after_seq=2) == [quarantine_entry(3)]
        await store.put(batch(position=5, quarantined=[quarantine_entry(5, "still unreadable")], reparsed_seqs=[2, 3]))
        assert await store.quarantine(10) == [quarantine_entry(5, "still unreadable")]

    # Searching

    @property_test
    @given(office=office_calls(), filters=st.lists(FILTERS, min_size=3, max_size=8))
    async def test_filters_match_same_rows_as_plain_loop(
        self, stores: OpenStoreFixture, office: list[Call], filters: list[RecordFilter]
    ) -> None:
        """Records by `RecordFilter.matches`, calls by `RecordFilter.matches_call`; the latest first."""
        async with stores() as store:
            await store.put(batch(*office))
            for record_filter in filters:
                assert await all_records(store, record_filter) == plain.records(office, record_filter)
                assert await all_calls(store, record_filter) == plain.calls(office, record_filter)

    @property_test
    @given(office=office_calls(), limit=st.integers(1, 4), record_filter=FILTERS)
    async def test_pages_return_each_row_once_while_calls_arrive(
        self, stores: OpenStoreFixture, office: list[Call], limit: int, record_filter: RecordFilter
    ) -> None:
        """Half of the calls are stored first; the others arrive between the pages."""
        stored_calls, later_calls = office[::2], office[1::2]
        async with stores() as store:
            await store.put(batch(*stored_calls))
            records, calls = await store.records(record_filter, limit), await store.calls(record_filter, limit)
            paged_records, paged_calls = list(records.data), list(calls.data)
            while records.next or calls.next:
                if later_calls:
                    await store.put(batch(later_calls.pop()))
                if records.next:
                    records = await store.records(record_filter, limit, records.next)
                    paged_records += records.data
                if calls.next:
                    calls = await store.calls(record_filter, limit, calls.next)
                    paged_calls += calls.data
        keys = {(row.sn, row.call_id) for row in stored_calls}
        assert [row for row in paged_records if (row.sn, row.call_id) in keys] == plain.records(
            stored_calls, record_filter
        )
        assert [row for row in paged_calls if (row.sn, row.call_id) in keys] == plain.calls(stored_calls, record_filter)
        assert len({row.record_id for row in paged_records}) == len(paged_records)

    async def test_pages_continue_within_one_second(self, store: Store) -> None:
        """More calls begin in one second than a page holds."""
        calls = [call(record()) for _ in range(23)]
        await store.put(batch(*calls))
        assert await all_records(store, RecordFilter(), limit=5) == plain.records(calls, RecordFilter())
        assert await all_calls(store, RecordFilter(), limit=5) == plain.calls(calls, RecordFilter())

    async def test_search_finds_rare_call_far_back(self, store: Store) -> None:
        """One call is far in the past behind thousands of others, and one far in the future."""
        old, far = call(record(datetime(1999, 1, 1, tzinfo=UTC))), call(record(datetime(2090, 1, 1, tzinfo=UTC)))
        other_calls = [call(record(STARTED_AT + timedelta(minutes=i), call_from="3")) for i in range(2_000)]
        await store.put(batch(old, far, *other_calls))
        for number in ("1001", "1002"):
            assert (await store.records(RecordFilter(number=number, call_from="1001"), 5)).data == [
                *far.legs,
                *old.legs,
            ]
            assert (await store.calls(RecordFilter(number=number, call_from="1001"), 5)).data == [far, old]

    @pytest.mark.parametrize("cursor", ["", "x", "é", "bnVsbA", "WzEsMl0", "A" * 5000])
    async def test_search_with_invalid_cursor_is_rejected(self, store: Store, cursor: str) -> None:
        """An empty cursor means the first page."""
        await store.put(batch(call()))
        if not cursor:
            assert (await store.records(RecordFilter(), 5, cursor)).data
            return
        for list_page in (store.records, store.calls):
            with pytest.raises(UsageError, match="invalid cursor"):
                await list_page(RecordFilter(), 5, cursor)

    async def test_search_calls_with_cursor_of_records_is_rejected(self, store: Store) -> None:
        await store.put(batch(call(), call()))
        cursor = (await store.records(RecordFilter(), 1)).next
        with pytest.raises(UsageError, match="invalid cursor"):
            await store.calls(RecordFilter(), 1, cursor)

    @pytest.mark.parametrize("limit", [0, -1, PAGE_MAX + 1])
    async def test_search_with_invalid_page_size_is_rejected(self, store: Store, limit: int) -> None:
        with pytest.raises(UsageError, match="a page has"):
            await store.records(RecordFilter(), limit)

    async def test_records_after_keeps_order_and_whole_raw_events(self, store: Store) -> None:
        legs = [record(seq=seq) for seq in (4, 2, 2, 2, 9)]
        await store.put(batch(*(call_with_seq(leg) for leg in legs)))
        seqs = [leg_record.seq for leg_record in await store.records_after(0, 2)]
        assert seqs == [2, 2, 2]
        assert [leg_record.seq for leg_record in await store.records_after(2, 1)] == [4]
        assert [leg_record.seq for leg_record in await store.records_after(4, 10)] == [9]
        assert await store.records_after(9, 10) == []

    async def test_records_after_wide_hole_returns_full_page(self, store: Store) -> None:
        """The hole consists of raw events without calls."""
        await store.put(batch(*(call(record(seq=seq)) for seq in (1, 5_000, 900_000)), position=1_000_000))
        assert [leg_record.seq for leg_record in await store.records_after(0, 2)] == [1, 5_000]
        assert [leg_record.seq for leg_record in await store.records_after(1, 10)] == [5_000, 900_000]

    async def test_calls_by_keys_ignores_unknown_keys(self, store: Store) -> None:
        first = record()
        two_leg_call, single_leg_call = call(first, record(call_id=first.call_id, call_to="1003")), call(record())
        await store.put(batch(two_leg_call, single_leg_call))
        keys = [(two_leg_call.sn, two_leg_call.call_id), (single_leg_call.sn, single_leg_call.call_id), (SN, "1.1")]
        actual = await store.calls_by_keys(keys)
        assert sorted(actual, key=lambda call: call.call_id) == sorted(
            (two_leg_call, single_leg_call), key=lambda call: call.call_id
        )
        assert await store.calls_by_keys([]) == []

    async def test_extent_of_matching_records(self, store: Store) -> None:
        later_time = STARTED_AT + timedelta(hours=1)
        legs = [record(seq=5, received_at=later_time), record(seq=2, status="BUSY"), record(seq=9, status="BUSY")]
        await store.put(batch(*map(call, legs)))
        assert await store.extent(RecordFilter()) == RecordExtent(
            count=3, first_seq=2, last_seq=9, first_received_at=STARTED_AT
        )
        assert await store.extent(RecordFilter(), after_seq=2, until_seq=8) == RecordExtent(
            count=1, first_seq=5, last_seq=5, first_received_at=later_time
        )
        assert (await store.extent(RecordFilter(status="busy"), after_seq=2)).first_seq == 9
        assert await store.extent(RecordFilter(number="ghost")) == RecordExtent(
            count=0, first_seq=None, last_seq=None, first_received_at=None
        )

    @property_test
    @given(office=office_calls(), filters=st.tuples(FILTERS, FILTERS))
    async def test_extent_of_records_that_match_two_filters(
        self, stores: OpenStoreFixture, office: list[Call], filters: tuple[RecordFilter, RecordFilter]
    ) -> None:
        """Also where both set the same filter, to other values."""
        async with stores() as store:
            await store.put(batch(*office))
            legs = [leg for leg in plain.records(office, filters[0]) if leg in plain.records(office, filters[1])]
            assert (await store.extent(filters[0], second_filter=filters[1])).count == len(legs)

    async def test_last_received_at_is_by_receipt_without_some_channels(self, store: Store) -> None:
        """Whatever the times of the calls."""
        hours = [STARTED_AT + timedelta(hours=number) for number in range(4)]
        future = STARTED_AT + timedelta(days=600)
        records = [
            record(future, seq=1, received_at=hours[0]),
            record(seq=2, received_at=hours[1], via="push"),
            record(seq=3, received_at=hours[2], via="backfill"),
            record(seq=4, received_at=hours[3], via="import", sn="OTHER"),
        ]
        assert await store.last_received_at(["import"]) == {}
        await store.put(batch(*map(call, records)))
        assert await store.last_received_at(["backfill", "import"]) == {SN: hours[1]}
        assert await store.last_received_at(["import"]) == {SN: hours[2]}
        assert await store.last_received_at([]) == {SN: hours[2], "OTHER": hours[3]}

    async def test_latest_records_are_those_of_each_pbx(self, store: Store) -> None:
        """In any order of their arrival."""
        assert await store.latest_records(2) == {}
        records = [record(STARTED_AT + timedelta(hours=hour), seq=10 - hour) for hour in (2, 0, 3, 1)]
        other = record(STARTED_AT - timedelta(days=90), sn="OTHER", seq=1)
        await store.put(batch(*map(call, [*records, other])))
        assert await store.latest_records(3) == {SN: [records[2], records[0], records[3]], "OTHER": [other]}

    # Pages by number

    @property_test
    @given(office=office_calls(), listings=st.lists(LISTINGS, min_size=3, max_size=6))
    async def test_listings_match_same_rows_as_plain_loop(
        self, stores: OpenStoreFixture, office: list[Call], listings: list[tuple[RecordListing, CallListing]]
    ) -> None:
        """Total, rows and order are right, and pages join without a gap."""
        async with stores() as store:
            await store.put(batch(*office))
            for record_listing, call_listing in listings:
                records, calls = plain.list_records(office, record_listing), plain.list_calls(office, call_listing)
                record_result, call_result = (
                    await store.list_records(record_listing),
                    await store.list_calls(call_listing),
                )
                assert (record_result.total, call_result.total) == (len(records), len(calls))
                assert_same_order(record_result.data, records, record_listing.order_by)
                assert_same_order(call_result.data, calls, call_listing.order_by)
                pages = [
                    await store.list_records(msgspec.structs.replace(record_listing, offset=offset, limit=2))
                    for offset in range(0, len(records) + 1, 2)
                ]
                assert [row for page in pages for row in page.data] == list(record_result.data)

    async def test_listing_accepts_every_order_and_rejects_invalid_pages(self, store: Store) -> None:
        await store.put(batch(*(call() for _ in range(3))))
        for order in RECORD_ORDERS:
            assert (await store.list_records(RecordListing(order_by=order))).total == 3
        for order in CALL_ORDERS:
            assert (await store.list_calls(CallListing(order_by=order, is_descending=True))).total == 3
        for invalid_listing in (
            RecordListing(order_by="colour"),
            RecordListing(limit=0),
            RecordListing(limit=LISTING_ROWS_MAX + 1),
        ):
            with pytest.raises(UsageError):
                await store.list_records(invalid_listing)

    async def test_list_parties_returns_inside_numbers_with_their_latest_names(self, store: Store) -> None:
        """Outside are those with a name, reached by a trunk; a kind that the PBX reports is kept."""
        queue = record(call_to="500", extra={"callee_kind": "queue"})
        later_start = STARTED_AT + timedelta(minutes=1)
        later = record(later_start, call_from="Jane<555>", src_trunk_name="t1", call_to="Bobby<1002>")
        outbound = record(call_to="556", dst_trunk_name="t2")
        await store.put(batch(call(record()), call(queue), call(later), call(outbound)))
        inside = {(party.number, party.name, party.kind) for party in await store.list_parties((), is_external=False)}
        assert inside == {("1001", "Alice", ""), ("1002", "Bobby", ""), ("500", "", "queue")}
        (outside,) = await store.list_parties((SN,), is_external=True)
        assert (outside.number, outside.name) == ("555", "Jane")
        assert [trunk.name for trunk in await store.list_trunks(())] == ["t1", "t2"]
        assert not await store.list_parties(("3699OTHER",), is_external=False)
        assert not await store.list_trunks(("3699OTHER",))

    async def test_filter_extra_selects_what_the_rule_selects(self, store: Store) -> None:
        """Records, and calls of which one leg has all the members."""
        legs = [record(call_to=f"10{number:02}", extra=extra) for number, extra in enumerate(EXTRAS)]
        calls = [call(leg) for leg in legs]
        await store.put(batch(*calls))
        for text in (*EXTRA_FILTERS, "account_code=4711,is_new=true"):
            chosen = RecordFilter(extra=text)
            expected_numbers = {leg.call_to for leg in legs if chosen.matches(leg)}
            assert {leg.call_to for leg in (await store.records(chosen, 100)).data} == expected_numbers, text
            expected_calls = {candidate.call_id for candidate in calls if chosen.matches_call(candidate)}
            assert {row.call_id for row in (await store.calls(chosen, 100)).data} == expected_calls, text
        assert len({text for text in EXTRA_FILTERS if any(RecordFilter(extra=text).matches(leg) for leg in legs)}) == 7

    async def test_find_call_by_uid_returns_latest_call_in_scope(self, store: Store) -> None:
        legs = [
            record(call_id="1777287876.1", uid="20260427190436AB3D1", call_to=call_to) for call_to in ("6400", "1002")
        ]
        two_leg_call, other_pbx_call = (
            call(*legs),
            call(record(call_id="1777287876.2", sn="other", uid="20260427190436AB3D2")),
        )
        await store.put(batch(two_leg_call, other_pbx_call))
        assert await store.find_call_by_uid("20260427190436AB3D1") == two_leg_call
        assert await store.find_call_by_uid("20260427190436AB3D1", ["other"]) is None
        assert await store.find_call_by_uid("20260427190436AB3D2", ["other"]) == other_pbx_call
        assert await store.find_call_by_uid("20260427190436AB3D3") is None


def call_with_seq(leg: Record) -> Call:
    """Return a call of one leg from the raw event with this leg's number."""
    reported_leg = ReportedLeg(
        details=details(call_id=leg.call_id), seq=leg.seq, via=leg.via, received_at=leg.received_at
    )
    return assemble_call(leg.sn, [reported_leg], PbxFacts(name=leg.pbx))
