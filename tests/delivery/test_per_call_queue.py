"""Whose turn it is."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from onhook.delivery.per_call_queue import PendingNotification, PerCallQueue
from tests.delivery.factories import BOB_CALL, pending_notification


def test_events_of_one_call_follow_each_other() -> None:
    """The second of Alice's call has its turn when the first went through; Bob's call waits for neither."""
    turns = PerCallQueue(())
    first, second, other = pending_notification(1), pending_notification(2), pending_notification(3, BOB_CALL)
    assert all(turns.add(one) for one in (first, second, other))
    assert [turns.pop(), turns.pop(), turns.pop()] == [first, other, None]
    turns.release_next(first)
    assert turns.pop() is second


def test_news_go_before_replays() -> None:
    """Also where the replay was there first."""
    turns = PerCallQueue(())
    replayed, news = pending_notification(1, is_live=False), pending_notification(2, BOB_CALL)
    turns.add(replayed)
    turns.add(news)
    assert [turns.pop(), turns.pop()] == [news, replayed]


def test_what_is_put_back_is_the_next_one_again() -> None:
    """Before those that were ready with it."""
    turns = PerCallQueue(())
    first, other = pending_notification(1), pending_notification(2, BOB_CALL)
    turns.add(first)
    turns.add(other)
    assert turns.pop() is first
    turns.requeue(first)
    assert (turns.ready_count, turns.pop()) == (2, first)


def test_those_behind_one_that_failed_are_given_back_in_order() -> None:
    """They become rows behind it; later events of a call in trouble are not taken in at all."""
    turns = PerCallQueue([BOB_CALL])
    assert not turns.add(pending_notification(9, BOB_CALL))
    events = [pending_notification(seq) for seq in (1, 2, 3)]
    for event in events:
        turns.add(event)
    turns.pop()
    assert turns.remove_followers(events[0]) == events[1:]
    assert (turns.ready_count, turns.pop()) == (0, None)


@given(st.lists(st.integers(1, 3), max_size=30), st.randoms())
def test_of_one_call_one_is_under_way_and_order_is_kept(calls: list[int], chance: Random) -> None:
    """However many calls there are, and in whatever order their events come to an end."""
    turns, came = PerCallQueue(()), []
    events = [pending_notification(seq, ("SN", f"1.{number}")) for seq, number in enumerate(calls, 1)]
    for one in events:
        turns.add(one)
    under_way: list[PendingNotification] = []
    while turns.ready_count or under_way:
        while (taken := turns.pop()) is not None:
            under_way.append(taken)
        assert len({one.call for one in under_way}) == len(under_way)
        done = chance.choice(under_way)
        under_way.remove(done)
        turns.release_next(done)
        came.append(done)
    for call in {event.call for event in events}:
        assert [one.seq for one in came if one.call == call] == [event.seq for event in events if event.call == call]
