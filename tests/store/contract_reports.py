"""What every store must hold when it is asked the questions of reports: held against plain loops."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.cdr.access_scope import AccessScope
from onhook.cdr.record import Call
from onhook.cdr.record_filter import RecordFilter
from onhook.lib.errors import UsageError
from onhook.store.contract import DURATION_FIELDS, PEAK_STEPS, SUMMARY_DIMENSIONS, Store
from tests.factories import STARTED_AT, call, record
from tests.store import plain, plain_reports
from tests.store.contract import OpenStoreFixture, batch, property_test
from tests.store.office import FILTERS, ZONES, office_calls

AFTER_ALL_WEEKS = datetime(2027, 2, 1, tzinfo=UTC)
"""All weeks of the made-up office are over."""


class ReportContract:
    """The claims, beside those of `StoreContract`."""

    @property_test
    @given(office=office_calls(), by=st.sampled_from(SUMMARY_DIMENSIONS), top=st.integers(1, 3), where=FILTERS)
    async def test_the_top_of_a_summary_has_the_most_calls(
        self, stores: OpenStoreFixture, office: list[Call], by: str, top: int, where: RecordFilter
    ) -> None:
        """The same rows, ordered by their calls, cut."""
        async with stores() as store:
            await store.put(batch(*office))
            rows = sorted(plain.summary(office, where, [by], "UTC"), key=lambda row: -row["calls"])
            assert await store.summary(where, by, "UTC", top) == rows[:top]

    async def test_weeks_that_are_over_are_summed_up_once(self, store: Store) -> None:
        """A late call, one that is another now, and one that is gone, count at once and in the sums made afterwards."""
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
            repeated_weeks = 0
            while await store.roll_up():
                repeated_weeks += 1
            assert repeated_weeks < weeks
        assert not await store.roll_up()

    @pytest.mark.slow
    @property_test
    @given(
        first=office_calls(),
        then=office_calls(),
        zone=st.sampled_from(ZONES),
        names=st.lists(st.sampled_from(SUMMARY_DIMENSIONS), min_size=3, max_size=3, unique=True),
        where=FILTERS,
    )
    async def test_what_was_summed_up_is_what_would_be_counted(
        self,
        *,
        stores: OpenStoreFixture,
        first: list[Call],
        then: list[Call],
        zone: str,
        names: list[str],
        where: RecordFilter,
    ) -> None:
        """After calls that came late, again, or in the place of others, before and after their weeks were summed up."""
        last_call = call(record(AFTER_ALL_WEEKS, call_to="6400"))
        office = list(
            {(office_call.sn, office_call.call_id): office_call for office_call in (*first, *then, last_call)}.values()
        )
        period = RecordFilter(since=where.since, until=where.until)
        queries = (period, msgspec.structs.replace(period, pbx="office", type=where.type), where)
        async with stores() as store:
            await store.put(batch(*first, last_call))
            while await store.roll_up():
                pass
            await store.put(batch(*first[::2]))
            for _ in range(2):
                await store.put(batch(*then))
            for is_summed in (False, True):
                for filters, by in zip(queries, ([names[0]], ["pbx", names[1]], names[1:]), strict=True):
                    if len(set(by)) == len(by):
                        actual = await store.summary(filters, ",".join(by), zone)
                        assert actual == plain.summary(office, filters, by, zone), (by, is_summed)
                while await store.roll_up():
                    pass

    @property_test
    @given(office=office_calls(), of=st.sampled_from(DURATION_FIELDS), where=FILTERS)
    async def test_spreads_equal_a_plain_count(
        self, stores: OpenStoreFixture, office: list[Call], of: str, where: RecordFilter
    ) -> None:
        """Each bar, the median, the 90th percentile, the longest, and those of which nobody knows."""
        async with stores() as store:
            await store.put(batch(*office))
            for filters in (RecordFilter(), where):
                for edges in ([0], [0, 1, 14, 15, 60]):
                    assert await store.histogram(filters, of, edges) == plain_reports.histogram(
                        office, filters, of, edges
                    )

    @pytest.mark.parametrize(("of", "edges"), [("colour", [0]), ("talk_duration", [1]), ("talk_duration", [0, 2, 1])])
    async def test_a_spread_that_cannot_be_meant_is_refused(self, store: Store, of: str, edges: list[int]) -> None:
        """With one sentence."""
        with pytest.raises(UsageError):
            await store.histogram(RecordFilter(), of, edges)

    @property_test
    @given(
        calls=st.lists(
            st.tuples(st.integers(0, 9_000), st.integers(0, 4_000), st.sampled_from(("", "a", "b"))), max_size=8
        ),
        change=st.sampled_from((datetime(2026, 3, 29, 0, 30, tzinfo=UTC), datetime(2026, 10, 24, 22, tzinfo=UTC))),
        zone=st.sampled_from(ZONES),
        by=st.sampled_from(PEAK_STEPS),
        asked=st.tuples(st.none() | st.integers(-500, 9_000), st.none() | st.integers(-500, 12_000)),
    )
    async def test_peaks_equal_a_look_at_each_second(
        self,
        *,
        stores: OpenStoreFixture,
        calls: list[tuple[int, int, str]],
        change: datetime,
        zone: str,
        by: str,
        asked: tuple[int | None, int | None],
    ) -> None:
        """By hour, day, month and in all; where clocks are changed; with calls that go on into the next stretch."""
        office = [
            call(
                record(
                    change + timedelta(seconds=seconds),
                    call_duration=duration,
                    src_trunk_name=trunk,
                    dst_trunk_name="b",
                )
            )
            for seconds, duration, trunk in calls
        ]
        since, until = (None if seconds is None else change + timedelta(seconds=seconds) for seconds in asked)
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
        asked=st.tuples(*[st.none() | st.integers(-10, 40)] * 2, st.sampled_from((None, "office", "shop"))),
    )
    async def test_peaks_of_weeks_that_were_summed_up_are_what_would_be_counted(
        self,
        *,
        stores: OpenStoreFixture,
        calls: list[tuple[int, int, str]],
        zone: str,
        by: str,
        asked: tuple[int | None, int | None, str | None],
    ) -> None:
        """Also of calls that go on into other weeks, and when some are taken away again."""
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
        since, until = (None if days is None else period_start + timedelta(days=days) for days in asked[:2])
        record_filter = RecordFilter(since=since, until=until, pbx=asked[2])
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

    async def test_peaks_that_cannot_be_meant_are_refused(self, store: Store) -> None:
        """A step that nobody knows, and more hours than a picture has."""
        await store.put(batch(call(record(datetime(1999, 1, 1, tzinfo=UTC))), call(record())))
        for by in ("colour", "hour"):
            with pytest.raises(UsageError):
                await store.peaks(RecordFilter(), by, "UTC")

    @property_test
    @given(office=office_calls(), where=FILTERS, is_returned=st.booleans())
    async def test_missed_calls_equal_a_look_at_each_pair(
        self, stores: OpenStoreFixture, office: list[Call], where: RecordFilter, is_returned: bool
    ) -> None:
        """Which were returned, by which call, and which were not."""
        async with stores() as store:
            await store.put(batch(*office))
            for filters in (RecordFilter(), where):
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

    async def test_a_call_is_returned_under_a_number_written_otherwise(self, store: Store) -> None:
        """+49 30 1234567 called and was not answered; 0 030 1234567 was called back, through another trunk."""
        missed_call = call(record(call_from="+49301234567", status="NO ANSWER", talk_duration=0, type="Inbound"))
        return_call = call(record(STARTED_AT + timedelta(hours=1), call_to="00301234567", type="Outbound"))
        await store.put(batch(missed_call, return_call))
        result = await store.missed_calls(RecordFilter(type="inbound"), 10, is_returned=True)
        assert [missed_row.returned_by for missed_row in result.data] == [(return_call.sn, return_call.call_id)]
        scoped_filter = RecordFilter(type="inbound", scope=AccessScope(numbers=("+49301234567",)))
        assert (await store.missed_calls(scoped_filter, 10)).unreturned == 1


def _with_duration(original: Call, seconds: int) -> Call:
    """The same call, but longer."""
    (leg,) = original.legs
    longer_leg = msgspec.structs.replace(
        leg, call_duration=seconds, ended_at=leg.started_at + timedelta(seconds=seconds)
    )
    return msgspec.structs.replace(
        original, call_duration=seconds, ended_at=original.started_at + timedelta(seconds=seconds), legs=(longer_leg,)
    )
