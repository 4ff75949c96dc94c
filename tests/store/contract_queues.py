"""Contract tests of visits to queues in a store, compared with plain loops."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.cdr.access_scope import AccessScope
from onhook.cdr.number_plan import NumberPlan
from onhook.cdr.queue_figures import total_worked_seconds
from onhook.cdr.queue_visits import find_visits
from onhook.cdr.record import Call
from onhook.cdr.record_filter import RecordFilter
from onhook.lib.errors import UsageError
from onhook.store.contract import VISIT_STEPS, Store, StoreBatch
from tests.cdr import plain_queues
from tests.cdr.queue_calls import queue_calls
from tests.factories import SN, STARTED_AT
from tests.store.contract import OpenStoreFixture, batch, property_test

PLAN = NumberPlan()
OFFICES = st.lists(st.integers(0, 9), max_size=10, unique=True).flatmap(
    lambda numbers: st.tuples(*(queue_calls(number, days=3) for number in numbers))
)
QUEUE_FILTERS = st.sampled_from(
    (
        RecordFilter(),
        RecordFilter(since=STARTED_AT + timedelta(days=1), until=STARTED_AT + timedelta(days=2)),
        RecordFilter(number="1002", type="inbound"),
        RecordFilter(scope=AccessScope(numbers=("1001", "6401"))),
        RecordFilter(pbx="nowhere"),
        RecordFilter(sn=SN, pbx="office", until=STARTED_AT + timedelta(days=2)),
        RecordFilter(scope=AccessScope(sns=(SN,))),
    )
)


def visits_batch(calls: Sequence[Call]) -> StoreBatch:
    return msgspec.structs.replace(batch(*calls), call_visits=[find_visits(call, PLAN) for call in calls])


class QueueContract:
    """Tests of queues, in addition to `StoreContract`."""

    @property_test
    @given(calls=OFFICES, record_filter=QUEUE_FILTERS, by=st.sampled_from(VISIT_STEPS))
    async def test_count_visits_equals_plain_loop(
        self, stores: OpenStoreFixture, calls: Sequence[Call], record_filter: RecordFilter, by: str
    ) -> None:
        expected: dict[tuple[object, ...], tuple[int, int | None]] = {}
        for call in filter(record_filter.matches_call, calls):
            local = call.started_at.astimezone(ZoneInfo("Asia/Kathmandu"))
            step = {"": 0, "hour_of_day": local.hour, "weekday": local.isoweekday()}[by]
            for visit in plain_queues.visits(call, PLAN):
                key = (call.pbx, visit["queue"], visit["kind"], step, visit["outcome"], visit["wait"])
                number, talk = expected.get(key, (0, None))
                expected[key] = (number + 1, talk if visit["talk"] is None else (talk or 0) + visit["talk"])
        async with stores() as store:
            # The second batch replaces the calls of the first one, and their visits.
            await store.put(visits_batch(calls))
            await store.put(visits_batch(calls))
            counts = await store.count_visits(record_filter, by, "Asia/Kathmandu")
        assert {
            (count.pbx, count.queue, count.kind, count.step, count.outcome, count.wait_duration): (
                count.calls,
                count.talk_duration,
            )
            for count in counts
        } == expected
        assert len(counts) == len(expected)

    @property_test
    @given(calls=OFFICES, record_filter=QUEUE_FILTERS)
    async def test_agent_figures_equal_plain_loop(
        self, stores: OpenStoreFixture, calls: Sequence[Call], record_filter: RecordFilter
    ) -> None:
        async with stores() as store:
            await store.put(visits_batch(calls))
            rows = await store.agent_figures(record_filter, "Asia/Kathmandu")
        expected = plain_queues.agents(
            list(filter(record_filter.matches_call, calls)), PLAN, ZoneInfo("Asia/Kathmandu")
        )
        actual = {
            (row.pbx, row.queue, (row.agent, row.is_outside)): (
                row.answered,
                row.missed_rings,
                row.talk_duration,
                row.worked_seconds,
            )
            for row in rows
        }
        assert actual == expected
        worked = plain_queues.worked_seconds(
            list(filter(record_filter.matches_call, calls)), PLAN, ZoneInfo("Asia/Kathmandu")
        )
        assert {(row.pbx, (row.agent, row.is_outside)): row.all_worked_seconds for row in rows} == worked
        assert total_worked_seconds(rows) == sum(worked.values())

    @property_test
    @given(calls=OFFICES)
    async def test_delete_removes_the_visits_of_calls(self, stores: OpenStoreFixture, calls: Sequence[Call]) -> None:
        async with stores() as store:
            await store.put(visits_batch(calls))
            await store.delete([(SN, call.call_id) for call in calls], [])
            assert await store.count_visits(RecordFilter(), "", "UTC") == []
            assert await store.agent_figures(RecordFilter(), "UTC") == []

    @property_test
    @given(calls=OFFICES, name=st.sampled_from(("office", "branch", None)))
    async def test_visits_of_a_renamed_pbx_have_the_name_of_their_call(
        self, stores: OpenStoreFixture, calls: Sequence[Call], name: str | None
    ) -> None:
        """Calls of one serial number have two names, and another PBX has one of them too."""
        named = [
            msgspec.structs.replace(call, pbx=("office", "branch")[index % 2], sn=(SN, SN, "other")[index % 3])
            for index, call in enumerate(calls)
        ]
        record_filter = RecordFilter(pbx=name)
        async with stores() as store:
            await store.put(visits_batch(named))
            counts = await store.count_visits(record_filter, "", "UTC")
            rows = await store.agent_figures(record_filter, "UTC")
        matching = [call for call in named if name in {None, call.pbx}]
        visits = [(call.sn, call.pbx, visit["queue"]) for call in matching for visit in plain_queues.visits(call, PLAN)]
        assert Counter((count.sn, count.pbx, count.queue) for count in counts for _ in range(count.calls)) == Counter(
            visits
        )
        agents = plain_queues.agents(matching, PLAN, ZoneInfo("UTC"))
        assert {(row.pbx, row.queue, (row.agent, row.is_outside)) for row in rows} == agents.keys()
        assert sum(row.answered for row in rows) == sum(answered for answered, *_rest in agents.values())

    async def test_count_visits_by_an_unknown_step_is_rejected(self, store: Store) -> None:
        with pytest.raises(UsageError, match="not counted by"):
            await store.count_visits(RecordFilter(), "colour", "UTC")
