"""Coverage: every claim is true at every time, whatever the channel loses and whenever the list is read."""

from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.cdr import coverage
from onhook.cdr.coverage import (
    CALL_SECONDS_MAX,
    GAP_MERGE_DISTANCE,
    NEVER_COMPARED,
    SETTLE_SECONDS,
    CdrComparison,
    CoverageState,
    Interval,
    add_disconnection,
    add_interval,
    complete_until,
    fill_gaps,
    interval_from_comparison,
    invalidate_connected,
    query_start,
)

MONDAY = datetime(2026, 4, 27, tzinfo=UTC)
HOUR = timedelta(hours=1)


@cache
def time_at(hours: float) -> datetime:
    return MONDAY + timedelta(hours=hours)


def interval_at(since: float, until: float, state: CoverageState = "complete", reason: str = "w") -> Interval:
    return Interval(time_at(since), time_at(until), state, reason)


def test_interval_from_comparison_excludes_edges() -> None:
    """Calls that ended soon after the window's start may have begun before it; the newest may not be listed yet."""
    interval = interval_from_comparison(CdrComparison(since=time_at(0), started_at=time_at(30)))
    assert interval is not None
    assert interval.since == time_at(0) + timedelta(seconds=CALL_SECONDS_MAX)
    assert interval.until == time_at(30) - timedelta(seconds=SETTLE_SECONDS)
    assert interval.state == "complete"
    assert interval.reason == "reconciled with the PBX at 2026-04-28 06:00 UTC"


@pytest.mark.parametrize(("until", "expected"), [(28.0, 28.0), (30.0, 30 - 1 / 60), (40.0, 30 - 1 / 60)])
def test_interval_from_comparison_ends_with_window_or_a_minute_before_reading(until: float, expected: float) -> None:
    """The window may end in the past, or after reading began; the newest calls may not be listed yet."""
    interval = interval_from_comparison(CdrComparison(since=time_at(0), started_at=time_at(30), until=time_at(until)))
    assert interval is not None
    assert interval.until == time_at(expected)


def test_interval_from_comparison_incomplete_is_gap_with_reason() -> None:
    interval = interval_from_comparison(
        CdrComparison(since=time_at(0), started_at=time_at(30), incomplete_reason="the PBX counts 12 and listed 11")
    )
    assert interval is not None
    assert (interval.state, interval.reason) == ("gap", "the PBX counts 12 and listed 11")


def test_interval_from_comparison_window_shorter_than_call_is_none() -> None:
    """All calls that ended in it may have begun before it."""
    assert interval_from_comparison(CdrComparison(since=time_at(10), started_at=time_at(30))) is None
    longest_call = CdrComparison(since=time_at(0), started_at=time_at(30), until=time_at(24))
    assert interval_from_comparison(longest_call) is None


def test_add_interval_connected_does_not_replace_comparison() -> None:
    """A comparison replaces `connected`, before or after it."""
    intervals = add_interval(add_interval([], interval_at(2, 4)), interval_at(0, 6, "connected", "alive"))
    assert intervals == [
        interval_at(0, 2, "connected", "alive"),
        interval_at(2, 4),
        interval_at(4, 6, "connected", "alive"),
    ]
    assert add_interval(intervals, interval_at(0, 6)) == [interval_at(0, 6)]


def test_add_interval_gap_replaces_only_its_range() -> None:
    intervals = add_interval([interval_at(0, 9)], interval_at(3, 4, "gap", "the PBX counts more"))
    assert intervals == [interval_at(0, 3), interval_at(3, 4, "gap", "the PBX counts more"), interval_at(4, 9)]


def test_add_interval_neighbours_of_one_state_are_joined_with_later_reason() -> None:
    """Gaps only with the same reason, so that each reason stays visible."""
    for state in ("complete", "connected"):
        neighbours = add_interval([interval_at(0, 2, state, "first")], interval_at(2, 4, state, "second"))
        assert neighbours == [interval_at(0, 4, state, "second")]
    gaps = [interval_at(0, 2, "gap", "first"), interval_at(2, 4, "gap", "second")]
    assert add_interval(gaps[:1], gaps[1]) == gaps
    assert add_interval(gaps, interval_at(4, 6, "gap", "second")) == [gaps[0], interval_at(2, 6, "gap", "second")]


def test_fill_gaps_unknown_time_is_a_gap() -> None:
    intervals = [interval_at(2, 4), interval_at(6, 8, "connected", "alive")]
    assert fill_gaps(intervals, time_at(1), time_at(7)) == [
        interval_at(1, 2, "gap", NEVER_COMPARED),
        interval_at(2, 4),
        interval_at(4, 6, "gap", NEVER_COMPARED),
        interval_at(6, 7, "connected", "alive"),
    ]
    assert fill_gaps(intervals, time_at(7), time_at(9)) == [
        interval_at(7, 8, "connected", "alive"),
        interval_at(8, 9, "gap", NEVER_COMPARED),
    ]


def test_fill_gaps_interval_that_ends_at_the_start_is_left_out() -> None:
    intervals = [interval_at(2, 4), interval_at(5, 6)]
    assert fill_gaps(intervals, time_at(4), time_at(5)) == [interval_at(4, 5, "gap", NEVER_COMPARED)]


def test_query_start_is_one_call_before_first_gap() -> None:
    intervals = [interval_at(0, 50), interval_at(60, 70)]
    day = timedelta(seconds=CALL_SECONDS_MAX)
    assert query_start(intervals, time_at(0), time_at(70)) == time_at(50) - day
    assert query_start(intervals, time_at(0), time_at(50)) == time_at(50) - timedelta(seconds=SETTLE_SECONDS) - day
    assert query_start([], time_at(0), time_at(70)) == time_at(0) - day


def test_invalidate_connected_keeps_comparisons() -> None:
    intervals = invalidate_connected([interval_at(0, 2), interval_at(2, 3, "connected")], "lossy")
    assert intervals == [interval_at(0, 2), interval_at(2, 3, "gap", "lossy")]
    assert complete_until(intervals) == time_at(2)
    assert complete_until(intervals[1:]) is None


def test_add_interval_over_limit_drops_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = 50
    monkeypatch.setattr(coverage, "INTERVALS_MAX", limit)
    intervals: list[Interval] = []
    for number in range(limit + 5):
        intervals = add_interval(intervals, interval_at(2 * number, 2 * number + 1))
    assert len(intervals) == limit
    assert intervals[0].since == time_at(10)


INTERVALS = st.builds(
    lambda since, hours, state: interval_at(since, since + hours, state, state),
    st.integers(0, 20),
    st.integers(1, 10),
    st.sampled_from(["complete", "connected", "gap"]),
)


@given(st.lists(INTERVALS, max_size=12))
def test_add_interval_sequence_keeps_latest_state_per_time(additions: list[Interval]) -> None:
    """The result equals a look-up of the latest interval for each time, without overlaps."""
    intervals: list[Interval] = []
    for new in additions:
        intervals = add_interval(intervals, new)
    assert all(interval.until <= other.since for interval, other in pairwise(intervals))
    for hour in range(31):
        time = time_at(hour + 0.5)
        state: CoverageState | None = None
        for new in additions:
            if new.since <= time < new.until and not (state == "complete" and new.state == "connected"):
                state = new.state
        states = [interval.state for interval in intervals if interval.since <= time < interval.until]
        assert states == ([] if state is None else [state])


class FinishedCall(msgspec.Struct, frozen=True):
    """A simulated call."""

    began: float
    ended: float


def simulate_calls(random: Random, hours: int) -> list[FinishedCall]:
    """Return calls of up to a day, most of them short."""
    calls = []
    for _unused in range(3 * hours):
        began = random.uniform(-24, hours)
        calls.append(FinishedCall(began, began + random.choice([0.01, 0.1, 1, 23.9])))
    return calls


@pytest.mark.parametrize("seed", range(20))
def test_complete_intervals_never_miss_a_call(seed: int) -> None:
    random = Random(seed)
    hours = 24 * 6
    calls = simulate_calls(random, hours)
    received: set[FinishedCall] = set()
    intervals: list[Interval] = []
    claimed = 0
    for now in range(1, hours):
        is_up = random.random() < 0.7
        received |= {call for call in calls if now - 1 <= call.ended < now and is_up and random.random() > 0.3}
        if is_up:
            intervals = add_interval(intervals, interval_at(now - 1, now, "connected", "alive"))
        if random.random() < 0.3:
            since = (
                query_start(intervals, time_at(max(0, now - 72)), time_at(now))
                if random.random() < 0.8
                else time_at(now - 26)
            )
            listed_calls = [call for call in calls if time_at(call.began) >= since and call.ended <= now]
            is_whole = random.random() < 0.7
            received |= set(listed_calls if is_whole else listed_calls[: len(listed_calls) // 2])
            interval = interval_from_comparison(
                CdrComparison(since=since, started_at=time_at(now), incomplete_reason="" if is_whole else "aborted")
            )
            intervals = intervals if interval is None else add_interval(intervals, interval)
        for claim in intervals:
            if claim.state == "complete":
                missing = [
                    call for call in calls if claim.since <= time_at(call.ended) < claim.until and call not in received
                ]
                assert not missing, f"at hour {now}: {claim} lacks {missing}"
                claimed += 1
    assert claimed, "no interval was complete"


def test_add_disconnection_is_a_gap_where_nothing_was_compared_since() -> None:
    compared = Interval(MONDAY + HOUR, MONDAY + 2 * HOUR, "complete", "")
    intervals = add_disconnection([compared], MONDAY, MONDAY + 3 * HOUR, "no connection")
    assert [(interval.since, interval.until, interval.state) for interval in intervals] == [
        (MONDAY, MONDAY + HOUR, "gap"),
        (MONDAY + HOUR, MONDAY + 2 * HOUR, "complete"),
        (MONDAY + 2 * HOUR, MONDAY + 3 * HOUR, "gap"),
    ]


def test_add_disconnection_soon_after_another_one_is_joined() -> None:
    """With the same reason only, and not over a longer time."""
    first = Interval(MONDAY, MONDAY + HOUR, "gap", "no connection")
    since = first.until + GAP_MERGE_DISTANCE
    assert len(add_disconnection([first], since, since + HOUR, "no connection")) == 2
    soon = since - timedelta(seconds=1)
    assert add_disconnection([first], soon, soon + HOUR, "no connection") == [
        Interval(MONDAY, soon + HOUR, "gap", "no connection")
    ]
    assert len(add_disconnection([first], soon, soon + HOUR, "another reason")) == 2


def test_add_disconnection_right_after_another_one_keeps_an_earlier_reason() -> None:
    """It is joined with the gap that ends at its start, not with an older one across a failed comparison."""
    times = [datetime(2026, 4, 27, tzinfo=UTC) + timedelta(seconds=seconds) for seconds in (0, 35, 45, 75, 135)]
    first = Interval(times[0], times[1], "gap", "no connection")
    failed = Interval(times[1], times[2], "gap", "the PBX counts 12 and listed 11")
    second = Interval(times[2], times[3], "gap", "no connection")
    assert add_disconnection([first, failed, second], times[3], times[4], "no connection") == [
        first,
        failed,
        Interval(times[2], times[4], "gap", "no connection"),
    ]
