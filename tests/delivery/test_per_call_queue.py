"""Whose turn it is."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from onhook.delivery.per_call_queue import PendingNotification, PerCallQueue
from tests.delivery.factories import BOB_CALL, owed


def test_events_of_one_call_follow_each_other() -> None:
    """The second of Alice's call has its turn when the first went through; Bob's call waits for neither."""
    turns = PerCallQueue(())
    first, second, other = owed(1), owed(2), owed(3, BOB_CALL)
    assert all(turns.offer(one) for one in (first, second, other))
    assert [turns.take(), turns.take(), turns.take()] == [first, other, None]
    turns.went_through(first)
    assert turns.take() is second


def test_news_go_before_replays() -> None:
    """Also where the replay was there first."""
    turns = PerCallQueue(())
    replayed, news = owed(1, is_live=False), owed(2, BOB_CALL)
    turns.offer(replayed)
    turns.offer(news)
    assert [turns.take(), turns.take()] == [news, replayed]


def test_what_is_put_back_is_the_next_one_again() -> None:
    """Before those that were ready with it."""
    turns = PerCallQueue(())
    first, other = owed(1), owed(2, BOB_CALL)
    turns.offer(first)
    turns.offer(other)
    assert turns.take() is first
    turns.put_back(first)
    assert (turns.ready, turns.take()) == (2, first)


def test_those_behind_one_that_failed_are_given_back_in_order() -> None:
    """They become rows behind it; later events of a call in trouble are not taken in at all."""
    turns = PerCallQueue([BOB_CALL])
    assert not turns.offer(owed(9, BOB_CALL))
    events = [owed(seq) for seq in (1, 2, 3)]
    for one in events:
        turns.offer(one)
    turns.take()
    assert turns.failed(events[0]) == events[1:]
    assert (turns.ready, turns.take()) == (0, None)


@given(st.lists(st.integers(1, 3), max_size=30), st.randoms())
def test_of_one_call_one_is_under_way_and_order_is_kept(calls: list[int], chance: Random) -> None:
    """However many calls there are, and in whatever order their events come to an end."""
    turns, came = PerCallQueue(()), []
    events = [owed(seq, ("SN", f"1.{number}")) for seq, number in enumerate(calls, 1)]
    for one in events:
        turns.offer(one)
    under_way: list[PendingNotification] = []
    while turns.ready or under_way:
        while (taken := turns.take()) is not None:
            under_way.append(taken)
        assert len({one.call for one in under_way}) == len(under_way)
        done = chance.choice(under_way)
        under_way.remove(done)
        turns.went_through(done)
        came.append(done)
    for call in {one.call for one in events}:
        assert [one.seq for one in came if one.call == call] == [one.seq for one in events if one.call == call]
