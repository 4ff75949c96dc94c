"""Coverage: what is claimed is true at every moment, whatever the channel loses and whenever the list was read."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.cdr.coverage import (
    CALL_SECONDS_MAX,
    INTERVALS_MAX,
    NEVER_COMPARED,
    SETTLE_SECONDS,
    CdrComparison,
    CoverageState,
    Interval,
    add_interval,
    complete_until,
    fill_gaps,
    interval_from_comparison,
    invalidate_connected,
    invalidate_range,
    query_start,
)

MONDAY = datetime(2026, 4, 27, tzinfo=UTC)
HOUR = timedelta(hours=1)


def at(hours: float) -> datetime:
    return MONDAY + timedelta(hours=hours)


def stretch(since: float, until: float, state: CoverageState = "complete", why: str = "w") -> Interval:
    return Interval(at(since), at(until), state, why)


def test_a_whole_reading_proves_all_but_its_edges() -> None:
    """Calls that ended soon after the window's start may have begun before it; the newest may not be listed yet."""
    found = interval_from_comparison(CdrComparison(since=at(0), started_at=at(30)))
    assert found is not None
    assert found.since == at(0) + timedelta(seconds=CALL_SECONDS_MAX)
    assert found.until == at(30) - timedelta(seconds=SETTLE_SECONDS)
    assert found.state == "complete"


def test_a_reading_that_was_not_whole_is_a_gap_with_its_name() -> None:
    """Never a proof."""
    found = interval_from_comparison(
        CdrComparison(since=at(0), started_at=at(30), incomplete_reason="the PBX counts 12 and listed 11")
    )
    assert found is not None
    assert (found.state, found.reason) == ("gap", "the PBX counts 12 and listed 11")


def test_a_window_shorter_than_a_call_proves_nothing() -> None:
    """All that ended in it may have begun before it."""
    assert interval_from_comparison(CdrComparison(since=at(10), started_at=at(30))) is None


def test_what_was_heard_never_hides_a_comparison() -> None:
    """And a comparison counts more than what was heard, before or after it."""
    known = add_interval(add_interval([], stretch(2, 4)), stretch(0, 6, "connected", "alive"))
    assert known == [stretch(0, 2, "connected", "alive"), stretch(2, 4), stretch(4, 6, "connected", "alive")]
    assert add_interval(known, stretch(0, 6)) == [stretch(0, 6)]


def test_a_difference_that_is_found_later_takes_the_claim_away() -> None:
    """Only where it was found."""
    known = add_interval([stretch(0, 9)], stretch(3, 4, "gap", "the PBX counts more"))
    assert [one.state for one in known] == ["complete", "gap", "complete"]


def test_time_that_nobody_asked_about_is_a_gap() -> None:
    """Coverage is of all the time that was asked for, without holes."""
    seen = fill_gaps([stretch(2, 4), stretch(6, 8, "connected")], at(1), at(7))
    assert [(one.since, one.state) for one in seen] == [
        (at(1), "gap"),
        (at(2), "complete"),
        (at(4), "gap"),
        (at(6), "connected"),
    ]
    assert (seen[0].reason, seen[-1].until) == (NEVER_COMPARED, at(7))


def test_the_next_reading_begins_a_call_before_the_first_gap() -> None:
    """So that the gap can be closed; with no gap, it still looks at the newest."""
    known = [stretch(0, 50), stretch(60, 70)]
    day = timedelta(seconds=CALL_SECONDS_MAX)
    assert query_start(known, at(0), at(70)) == at(50) - day
    assert query_start(known, at(0), at(50)) == at(50) - timedelta(seconds=SETTLE_SECONDS) - day
    assert query_start([], at(0), at(70)) == at(0) - day


def test_a_clock_that_moved_withdraws_claims() -> None:
    """What ended meanwhile may stand under another time."""
    assert [one.state for one in invalidate_range([stretch(0, 9)], at(5), at(6), "moved")] == [
        "complete",
        "gap",
        "complete",
    ]
    assert invalidate_range([stretch(0, 9)], at(6), at(5), "moved") == [stretch(0, 9)]


def test_a_channel_that_lost_events_is_not_believed() -> None:
    """What it heard is a gap; what was compared stays."""
    known = invalidate_connected([stretch(0, 2), stretch(2, 3, "connected")], "lossy")
    assert known == [stretch(0, 2), stretch(2, 3, "gap", "lossy")]
    assert complete_until(known) == at(2)
    assert complete_until(known[1:]) is None


def test_what_is_known_is_bounded() -> None:
    """The oldest is forgotten, which claims less, never more."""
    known: list[Interval] = []
    for number in range(INTERVALS_MAX + 5):
        known = add_interval(known, stretch(2 * number, 2 * number + 1))
    assert len(known) == INTERVALS_MAX
    assert known[0].since == at(10)


STRETCHES = st.builds(
    lambda since, hours, state: stretch(since, since + hours, state, state),
    st.integers(0, 20),
    st.integers(1, 10),
    st.sampled_from(["complete", "connected", "gap"]),
)


@given(st.lists(STRETCHES, max_size=12))
def test_each_moment_is_what_the_last_word_about_it_says(news: list[Interval]) -> None:
    """Painting is the same as asking, moment by moment, what was said last; and nothing overlaps."""
    known: list[Interval] = []
    for new in news:
        known = add_interval(known, new)
    assert all(one.until <= other.since for one, other in pairwise(known))
    for hour in range(31):
        moment = at(hour + 0.5)
        state: CoverageState | None = None
        for new in news:
            if new.since <= moment < new.until and not (state == "complete" and new.state == "connected"):
                state = new.state
        assert next((one.state for one in known if one.since <= moment < one.until), None) == state


class Ended(msgspec.Struct, frozen=True):
    """A call of the world."""

    began: float
    ended: float


def world(random: Random, hours: int) -> list[Ended]:
    """Calls of up to a day, most of them short."""
    calls = []
    for _ in range(3 * hours):
        began = random.uniform(-24, hours)
        calls.append(Ended(began, began + random.choice([0.01, 0.1, 1, 23.9])))
    return calls


@pytest.mark.parametrize("seed", range(20))
def test_no_claim_is_false_at_any_moment(seed: int) -> None:
    """A channel that loses 30 % and is down for hours, readings that break off: all that is claimed is here."""
    random = Random(seed)
    hours = 24 * 6
    calls = world(random, hours)
    here: set[Ended] = set()
    known: list[Interval] = []
    claimed = 0
    for now in range(1, hours):
        is_up = random.random() < 0.7
        here |= {call for call in calls if now - 1 <= call.ended < now and is_up and random.random() > 0.3}
        if is_up:
            known = add_interval(known, stretch(now - 1, now, "connected", "alive"))
        if random.random() < 0.3:
            since = query_start(known, at(max(0, now - 72)), at(now)) if random.random() < 0.8 else at(now - 26)
            listed = [call for call in calls if at(call.began) >= since and call.ended <= now]
            is_whole = random.random() < 0.7
            here |= set(listed if is_whole else listed[: len(listed) // 2])
            found = interval_from_comparison(
                CdrComparison(since=since, started_at=at(now), incomplete_reason="" if is_whole else "broke off")
            )
            known = known if found is None else add_interval(known, found)
        for one in known:
            if one.state == "complete":
                missing = [call for call in calls if one.since <= at(call.ended) < one.until and call not in here]
                assert not missing, f"at hour {now}: {one} claims {missing}"
                claimed += 1
    assert claimed, "something was claimed at all"
