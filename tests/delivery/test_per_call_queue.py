"""Order of notifications."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from onhook.delivery.per_call_queue import PendingNotification, PerCallQueue
from tests.delivery.factories import BOB_CALL, pending_notification


def test_per_call_queue_notifications_of_one_call_are_sequential() -> None:
    """The second of Alice's call is ready when the first is delivered; Bob's call waits for neither."""
    turns = PerCallQueue(())
    first, second, other = pending_notification(1), pending_notification(2), pending_notification(3, BOB_CALL)
    assert all(turns.add(notification) for notification in (first, second, other))
    assert [turns.pop(), turns.pop(), turns.pop()] == [first, other, None]
    turns.release_next(first)
    assert turns.pop() is second


def test_per_call_queue_live_stream_goes_before_replays() -> None:
    """Also where the replay was added first."""
    turns = PerCallQueue(())
    replayed, news = pending_notification(1, is_live=False), pending_notification(2, BOB_CALL)
    turns.add(replayed)
    turns.add(news)
    assert [turns.pop(), turns.pop()] == [news, replayed]


def test_per_call_queue_requeued_notification_is_the_next() -> None:
    """Before those that were ready with it."""
    turns = PerCallQueue(())
    first, other = pending_notification(1), pending_notification(2, BOB_CALL)
    turns.add(first)
    turns.add(other)
    assert turns.pop() is first
    turns.requeue(first)
    assert (turns.ready_count, turns.pop()) == (2, first)


def test_per_call_queue_followers_of_a_failed_one_are_returned_in_order() -> None:
    """They become rows behind it; later events of the call are held back."""
    turns = PerCallQueue([BOB_CALL])
    assert not turns.add(pending_notification(9, BOB_CALL))
    events = [pending_notification(seq) for seq in (1, 2, 3)]
    for event in events:
        turns.add(event)
    turns.pop()
    assert turns.remove_followers(events[0]) == events[1:]
    assert (turns.ready_count, turns.pop()) == (0, None)


@given(st.lists(st.integers(1, 3), max_size=30), st.randoms())
def test_per_call_queue_order_within_a_call_is_kept(calls: list[int], randomness: Random) -> None:
    """However many calls there are, and in whichever order their attempts end."""
    turns, came = PerCallQueue(()), []
    events = [pending_notification(seq, ("SN", f"1.{number}")) for seq, number in enumerate(calls, 1)]
    for notification in events:
        turns.add(notification)
    under_way: list[PendingNotification] = []
    while turns.ready_count or under_way:
        while (accepted := turns.pop()) is not None:
            under_way.append(accepted)
        assert len({notification.call for notification in under_way}) == len(under_way)
        done = randomness.choice(under_way)
        under_way.remove(done)
        turns.release_next(done)
        came.append(done)
    for call in {event.call for event in events}:
        assert [notification.seq for notification in came if notification.call == call] == [
            event.seq for event in events if event.call == call
        ]
