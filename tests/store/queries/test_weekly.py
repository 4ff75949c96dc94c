"""Split of a period into parts."""

from hypothesis import given
from hypothesis import strategies as st

from onhook.store.queries.weekly import PARTS_MAX, WEEK_SECONDS, split_period, week_of, weeks_between

SECONDS = st.integers(0, 60 * WEEK_SECONDS)


@given(since=SECONDS, until=SECONDS, rollup_weeks=st.sets(st.integers(0, 60)))
def test_split_period_covers_period_once(since: int, until: int, rollup_weeks: set[int]) -> None:
    """Parts with rollups are whole weeks that have one; the number of parts is limited."""
    parts = split_period(since, until, rollup_weeks)
    assert len(parts) <= PARTS_MAX + 1
    position = since
    for part in parts:
        assert part.since == position < part.until
        position = part.until
        if part.is_rolled_up:
            assert part.since % WEEK_SECONDS == part.until % WEEK_SECONDS == 0
            assert rollup_weeks.issuperset(weeks_between(part.since, part.until - 1))
    assert position == until if since < until else not parts


@given(since=SECONDS, weeks=st.integers(1, 40))
def test_split_period_adjacent_weeks_are_one_part(since: int, weeks: int) -> None:
    first = week_of(since) + 1
    parts = split_period(since, (first + weeks) * WEEK_SECONDS + 1, range(200))
    assert [part.is_rolled_up for part in parts].count(True) == 1
    assert max(part.until - part.since for part in parts) >= weeks * WEEK_SECONDS
