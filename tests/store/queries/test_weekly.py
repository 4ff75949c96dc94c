"""Periods in pieces."""

from hypothesis import given
from hypothesis import strategies as st

from onhook.store.queries.weekly import PARTS_MAX, WEEK_SECONDS, split_period, week_of, weeks_between

SECONDS = st.integers(0, 60 * WEEK_SECONDS)


@given(since=SECONDS, until=SECONDS, summed=st.sets(st.integers(0, 60)))
def test_pieces_cover_a_period_once(since: int, until: int, summed: set[int]) -> None:
    """In order, without a gap; summed pieces are whole weeks that have sums; there are not too many."""
    pieces = split_period(since, until, summed)
    assert len(pieces) <= PARTS_MAX + 1
    at = since
    for piece in pieces:
        assert piece.since == at < piece.until
        at = piece.until
        if piece.is_rolled_up:
            assert piece.since % WEEK_SECONDS == piece.until % WEEK_SECONDS == 0
            assert summed.issuperset(weeks_between(piece.since, piece.until - 1))
    assert at == until if since < until else not pieces


@given(since=SECONDS, weeks=st.integers(1, 40))
def test_weeks_that_follow_each_other_are_one_piece(since: int, weeks: int) -> None:
    """A year of sums is one question."""
    first = week_of(since) + 1
    pieces = split_period(since, (first + weeks) * WEEK_SECONDS + 1, range(200))
    assert [piece.is_rolled_up for piece in pieces].count(True) == 1
    assert max(piece.until - piece.since for piece in pieces) >= weeks * WEEK_SECONDS
