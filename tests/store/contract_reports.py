"""Contract tests of the reports of a store, compared with plain loops."""

from datetime import UTC, datetime, timedelta
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.cdr.access_scope import AccessScope
from onhook.cdr.record import Call
from onhook.cdr.record_filter import RecordFilter
from onhook.lib.errors import UsageError
from onhook.store.contract import SUMMARY_DIMENSIONS, GroupSide, Store
from onhook.store.figures import DURATION_FIELDS, PEAK_STEPS
from tests.factories import SN, STARTED_AT, call, record
from tests.store import plain, plain_reports
from tests.store.contract import OpenStoreFixture, batch, property_test
from tests.store.office import FILTERS, ZONES, office_calls

AFTER_ALL_WEEKS = datetime(2027, 2, 1, tzinfo=UTC)
"""After the last week of the generated calls."""


class ReportContract:
    """Tests of reports, in addition to `StoreContract`."""

    @property_test
    @given(
        office=office_calls(),
        zone=st.sampled_from(ZONES),
        by=st.lists(st.sampled_from(SUMMARY_DIMENSIONS), min_size=1, max_size=3, unique=True),
        record_filter=FILTERS,
    )
    async def test_summary_equals_plain_count(
        self, stores: OpenStoreFixture, office: list[Call], zone: str, by: list[str], record_filter: RecordFilter
    ) -> None:
        """By one to three dimensions, in any zone, through clock changes."""
        async with stores() as store:
            await store.put(batch(*office))
            for filters in (RecordFilter(), record_filter):
                assert await store.summary(filters, ",".join(by), zone) == plain.summary(office, filters, by, zone)

    @property_test
    @given(
        office=office_calls(),
        side=st.sampled_from(get_args(GroupSide)),
        groups=st.dictionaries(
            st.tuples(st.sampled_from(("other,1", "x", SN)), st.sampled_from(("1001", "1002", "6400", "+4930555"))),
            st.sampled_from(("Sales", "Support", "")),
        ),
        record_filter=FILTERS,
    )
    async def test_summary_by_group_equals_plain_count(
        self,
        *,
        stores: OpenStoreFixture,
        office: list[Call],
        side: GroupSide,
        groups: dict[tuple[str, str], str],
        record_filter: RecordFilter,
    ) -> None:
        """A call counts once in a group, however many of its numbers it reached."""
        async with stores() as store:
            await store.put(batch(*office))
            for filters in (RecordFilter(), record_filter):
                rows = await store.summary_by_group(filters, side, groups)
                assert [row["group"] for row in rows] == sorted(row["group"] for row in rows)
                assert {
                    row["group"]: (row["calls"], row["answered"], row["talk_duration"] or 0) for row in rows
                } == plain_reports.summary_by_group(office, filters, side, groups)

    async def test_summary_by_hour_has_repeated_hour_twice(self, store: Store) -> None:
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
    async def test_summary_with_invalid_arguments_is_rejected(self, store: Store, by: str, zone: str) -> None:
        with pytest.raises(UsageError):
            await store.summary(RecordFilter(), by, zone)

    @property_test
    @given(office=office_calls(), by=st.sampled_from(SUMMARY_DIMENSIONS), top=st.integers(1, 3), record_filter=FILTERS)
    async def test_summary_top_returns_rows_with_most_calls(
        self, stores: OpenStoreFixture, office: list[Call], by: str, top: int, record_filter: RecordFilter
    ) -> None:
        async with stores() as store:
            await store.put(batch(*office))
            rows = sorted(plain.summary(office, record_filter, [by], "UTC"), key=lambda row: -row["calls"])
            assert await store.summary(record_filter, by, "UTC", top) == rows[:top]

    async def test_roll_up_past_weeks_follows_late_changes(self, store: Store) -> None:
        """A late, a changed and a deleted call count at once and in later rollups."""
        office = [
            call(record(STARTED_AT + timedelta(days=days), call_id=f"opaque-{days}", pbx=("office", "shop")[days % 2]))
            for days in range(0, 40, 5)
        ]
        await store.put(batch(*office, call(record(AFTER_ALL_WEEKS))))
        weeks = 0
        while await store.roll_up():
            weeks += 1
        assert weeks
        changed_calls = [
            call(record(office_call.started_at, call_id=office_call.call_id, pbx=office_call.pbx, status="BUSY"))
            for office_call in office[:2]
        ]
        late_call = call(record(STARTED_AT + timedelta(days=21), call_to="6400"))
        await store.put(batch(*changed_calls, late_call))
        await store.delete([(office[-1].sn, office[-1].call_id)], [])
        record_filter = RecordFilter(until=AFTER_ALL_WEEKS)
        for _ in range(2):
            for by in SUMMARY_DIMENSIONS:
                expected = plain.summary(
                    [*changed_calls, *office[2:-1], late_call], record_filter, [by], "Asia/Kathmandu"
                )
                assert await store.summary(record_filter, by, "Asia/Kathmandu") == expected, by
            recomputed_weeks = 0
            while await store.roll_up():
                recomputed_weeks += 1
            assert recomputed_weeks < weeks
        assert not await store.roll_up()

    @pytest.mark.slow
    async def test_rename_pbx_gives_its_calls_the_name_in_rollups_too(self, store: Store) -> None:
        """Week by week; calls of other PBXs keep theirs."""

        def office(name: str) -> list[Call]:
            calls = [
                call(record(STARTED_AT + timedelta(days=days), call_id=f"opaque-{days}", pbx=name))
                for days in range(0, 40, 5)
            ]
            other = call(record(STARTED_AT, call_id="opaque-other", sn="OTHER", pbx="office"))
            return [*calls, other, call(record(AFTER_ALL_WEEKS, call_id="opaque-last", pbx=name))]

        name = 'Head "office"'
        await store.put(batch(*office("office")))
        while await store.roll_up():
            pass
        while await store.rename_pbx(SN, name):
            pass
        expected = office(name)
        for _ in range(2):
            stored = (await store.calls(RecordFilter(), 100)).data
            assert {(call.sn, call.call_id): call for call in stored} == {
                (call.sn, call.call_id): call for call in expected
            }
            for record_filter in (RecordFilter(), RecordFilter(pbx=name), RecordFilter(pbx="office")):
                for by in SUMMARY_DIMENSIONS:
                    counted = plain.summary(expected, record_filter, [by], "UTC")
                    assert await store.summary(record_filter, by, "UTC") == counted, by
            for pbx, sn in ((name, SN), ("office", "OTHER")):
                by_name = await store.peaks(RecordFilter(pbx=pbx), "month", "UTC")
                assert by_name == await store.peaks(RecordFilter(sn=sn), "month", "UTC")
                assert by_name
            while await store.roll_up():
                pass
        lines = b"".join([chunk async for chunk in store.export(RecordFilter(pbx=name), "csv", "UTC")]).splitlines()
        assert all(b',"Head ""office""",' in line for line in lines[1:])
        assert len(lines) == len(expected)

    @pytest.mark.slow
    @property_test
    @given(
        first=office_calls(),
        then=office_calls(),
        zone=st.sampled_from(ZONES),
        names=st.lists(st.sampled_from(SUMMARY_DIMENSIONS), min_size=3, max_size=3, unique=True),
        record_filter=FILTERS,
    )
    async def test_summary_with_rollups_equals_count(
        self,
        *,
        stores: OpenStoreFixture,
        first: list[Call],
        then: list[Call],
        zone: str,
        names: list[str],
        record_filter: RecordFilter,
    ) -> None:
        """Calls arrive late, again, and as replacements, before and after the rollup of their weeks."""
        last_call = call(record(AFTER_ALL_WEEKS, call_to="6400"))
        office = list(
            {(office_call.sn, office_call.call_id): office_call for office_call in (*first, *then, last_call)}.values()
        )
        period = RecordFilter(since=record_filter.since, until=record_filter.until)
        queries = (period, msgspec.structs.replace(period, pbx="office", type=record_filter.type), record_filter)
        async with stores() as store:
            await store.put(batch(*first, last_call))
            while await store.roll_up():
                pass
            await store.put(batch(*first[::2]))
            for _ in range(2):
                await store.put(batch(*then))
            for has_rollups in (False, True):
                for filters, by in zip(queries, ([names[0]], ["pbx", names[1]], names[1:]), strict=True):
                    if len(set(by)) == len(by):
                        actual = await store.summary(filters, ",".join(by), zone)
                        assert actual == plain.summary(office, filters, by, zone), (by, has_rollups)
                while await store.roll_up():
                    pass

    @property_test
    @given(office=office_calls(), duration_name=st.sampled_from(DURATION_FIELDS), record_filter=FILTERS)
    async def test_histogram_equals_plain_count(
        self, stores: OpenStoreFixture, office: list[Call], duration_name: str, record_filter: RecordFilter
    ) -> None:
        async with stores() as store:
            await store.put(batch(*office))
            for filters in (RecordFilter(), record_filter):
                for edges in ([0], [0, 1, 14, 15, 60]):
                    assert await store.histogram(filters, duration_name, edges) == plain_reports.histogram(
                        office, filters, duration_name, edges
                    )

    @pytest.mark.parametrize(
        ("duration_name", "edges"), [("colour", [0]), ("talk_duration", [1]), ("talk_duration", [0, 2, 1])]
    )
    async def test_histogram_with_invalid_arguments_is_rejected(
        self, store: Store, duration_name: str, edges: list[int]
    ) -> None:
        with pytest.raises(UsageError):
            await store.histogram(RecordFilter(), duration_name, edges)

    @property_test
    @given(
        calls=st.lists(
            st.tuples(st.integers(0, 9_000), st.integers(0, 4_000), st.sampled_from(("", "a", "b"))), max_size=8
        ),
        change=st.sampled_from((datetime(2026, 3, 29, 0, 30, tzinfo=UTC), datetime(2026, 10, 24, 22, tzinfo=UTC))),
        zone=st.sampled_from(ZONES),
        by=st.sampled_from(PEAK_STEPS),
        offsets=st.tuples(st.none() | st.integers(-500, 9_000), st.none() | st.integers(-500, 12_000)),
    )
    async def test_peaks_equal_plain_count_per_second(
        self,
        *,
        stores: OpenStoreFixture,
        calls: list[tuple[int, int, str]],
        change: datetime,
        zone: str,
        by: str,
        offsets: tuple[int | None, int | None],
    ) -> None:
        """By hour, day, month and in all; through clock changes; with calls across intervals; with trunks of the same
        names of two PBXs.
        """
        office = [
            call(
                record(
                    change + timedelta(seconds=seconds),
                    call_duration=duration,
                    src_trunk_name=trunk,
                    dst_trunk_name="b",
                    pbx=("office", "shop")[seconds % 2],
                )
            )
            for seconds, duration, trunk in calls
        ]
        since, until = (None if seconds is None else change + timedelta(seconds=seconds) for seconds in offsets)
        record_filter = RecordFilter(since=since, until=until)
        async with stores() as store:
            await store.put(batch(*office))
            for by_trunk in (False, True):
                actual = await store.peaks(record_filter, by, zone, by_trunk=by_trunk)
                assert actual == plain_reports.peaks(office, record_filter, by, zone, by_trunk=by_trunk)

    @pytest.mark.slow
    @property_test
    @given(
        calls=st.lists(
            st.tuples(st.integers(0, 2_000), st.integers(0, 700_000), st.sampled_from(("", "a", "b"))), max_size=6
        ),
        zone=st.sampled_from(ZONES),
        by=st.sampled_from(PEAK_STEPS[1:]),
        selection=st.tuples(*[st.none() | st.integers(-10, 40)] * 2, st.sampled_from((None, "office", "shop"))),
    )
    async def test_peaks_with_rollups_equal_count(
        self,
        *,
        stores: OpenStoreFixture,
        calls: list[tuple[int, int, str]],
        zone: str,
        by: str,
        selection: tuple[int | None, int | None, str | None],
    ) -> None:
        """Calls last into other weeks, and some are shortened again."""
        period_start = datetime(2026, 3, 12, tzinfo=UTC)
        office = [
            call(
                record(
                    period_start + timedelta(minutes=minutes * 20),
                    call_duration=duration,
                    src_trunk_name=trunk,
                    pbx=("office", "shop")[minutes % 2],
                )
            )
            for minutes, duration, trunk in calls
        ]
        since, until = (None if days is None else period_start + timedelta(days=days) for days in selection[:2])
        record_filter = RecordFilter(since=since, until=until, pbx=selection[2])
        async with stores() as store:
            await store.put(
                batch(
                    *(_with_duration(office_call, 900_000) for office_call in office),
                    call(record(AFTER_ALL_WEEKS, call_duration=0)),
                )
            )
            while await store.roll_up():
                pass
            await store.put(batch(*office))
            expected = [await store.peaks(record_filter, by, zone, by_trunk=by_trunk) for by_trunk in (False, True)]
            while await store.roll_up():
                pass
            assert [
                await store.peaks(record_filter, by, zone, by_trunk=by_trunk) for by_trunk in (False, True)
            ] == expected

    async def test_peaks_with_invalid_interval_are_rejected(self, store: Store) -> None:
        """An unknown interval, and more hours than a chart can show."""
        await store.put(batch(call(record(datetime(1999, 1, 1, tzinfo=UTC))), call(record())))
        for by in ("colour", "hour"):
            with pytest.raises(UsageError):
                await store.peaks(RecordFilter(), by, "UTC")

    @property_test
    @given(office=office_calls(), record_filter=FILTERS, is_returned=st.booleans())
    async def test_missed_calls_equal_plain_comparison(
        self, stores: OpenStoreFixture, office: list[Call], record_filter: RecordFilter, is_returned: bool
    ) -> None:
        async with stores() as store:
            await store.put(batch(*office))
            for filters in (RecordFilter(), record_filter):
                actual = await store.missed_calls(filters, 100, is_returned=is_returned)
                missed_count, returned_count, expected_rows = plain_reports.missed_calls(
                    office, filters, is_returned=is_returned
                )
                assert (actual.missed, actual.returned, list(actual.data)) == (
                    missed_count,
                    returned_count,
                    expected_rows,
                )
                assert actual.missed == actual.returned + actual.unreturned + actual.anonymous

    async def test_missed_call_is_returned_to_other_notation_of_number(self, store: Store) -> None:
        """+49 30 1234567 called without an answer; 0 030 1234567 was called back, through another trunk."""
        missed_call = call(record(call_from="+49301234567", status="NO ANSWER", talk_duration=0, type="Inbound"))
        return_call = call(record(STARTED_AT + timedelta(hours=1), call_to="00301234567", type="Outbound"))
        await store.put(batch(missed_call, return_call))
        result = await store.missed_calls(RecordFilter(type="inbound"), 10, is_returned=True)
        assert [missed_row.returned_by for missed_row in result.data] == [(return_call.sn, return_call.call_id)]
        scoped_filter = RecordFilter(type="inbound", scope=AccessScope(numbers=("+49301234567",)))
        assert (await store.missed_calls(scoped_filter, 10)).unreturned == 1


def _with_duration(original: Call, seconds: int) -> Call:
    """Return the same call with another duration."""
    (leg,) = original.legs
    longer_leg = msgspec.structs.replace(
        leg, call_duration=seconds, ended_at=leg.started_at + timedelta(seconds=seconds)
    )
    return msgspec.structs.replace(
        original, call_duration=seconds, ended_at=original.started_at + timedelta(seconds=seconds), legs=(longer_leg,)
    )
