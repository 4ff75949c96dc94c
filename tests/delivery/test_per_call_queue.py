"""Order of notifications."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from onhook.delivery.per_call_queue import PendingNotification, PerCallQueue
from tests.delivery.factories import BOB_CALL, pending_notification


def test_per_call_queue_notifications_of_one_call_are_sequential() -> None:
    """The second of Alice's call is ready when the first is delivered; Bob's call waits for neither."""
    queue = PerCallQueue(())
    first, second, other = pending_notification(1), pending_notification(2), pending_notification(3, BOB_CALL)
    assert all(queue.add(notification) for notification in (first, second, other))
    assert [queue.pop(), queue.pop(), queue.pop()] == [first, other, None]
    queue.release_next(first)
    assert queue.pop() is second


def test_per_call_queue_notification_that_waited_goes_before_newer_ones() -> None:
    """Those that waited keep their order."""
    queue = PerCallQueue(())
    first, second = pending_notification(1), pending_notification(2)
    first_of_bob, second_of_bob = pending_notification(3, BOB_CALL), pending_notification(4, BOB_CALL)
    newer = pending_notification(5, ("SN", "1.3"))
    for notification in (first, second, first_of_bob, second_of_bob, newer):
        queue.add(notification)
    assert [queue.pop(), queue.pop()] == [first, first_of_bob]
    queue.release_next(first)
    queue.release_next(first_of_bob)
    assert [queue.pop(), queue.pop(), queue.pop()] == [second, second_of_bob, newer]


def test_per_call_queue_live_stream_goes_before_replays() -> None:
    """Also where the replay was added first."""
    queue = PerCallQueue(())
    replayed, news = pending_notification(1, is_live=False), pending_notification(2, BOB_CALL)
    queue.add(replayed)
    queue.add(news)
    assert [queue.pop(), queue.pop()] == [news, replayed]


def test_per_call_queue_oldest_notification_is_that_of_live_stream_or_replay() -> None:
    """Of each the first one of those that were read, and of those that waited."""
    queue = PerCallQueue(())
    oldest = [queue.oldest_pending_since]
    queue.add(pending_notification(1, pending_since=5))
    oldest.append(queue.oldest_pending_since)
    queue.add(pending_notification(2, BOB_CALL, pending_since=3, is_live=False))
    oldest.append(queue.oldest_pending_since)
    queue.pop()
    queue.add(pending_notification(3, ("SN", "1.3"), pending_since=2))
    queue.requeue(pending_notification(4, ("SN", "1.4"), pending_since=9))
    oldest.append(queue.oldest_pending_since)
    assert oldest == [None, 5, 3, 2]


def test_per_call_queue_requeued_notification_is_the_next() -> None:
    """Before those that were ready with it."""
    queue = PerCallQueue(())
    first, other = pending_notification(1), pending_notification(2, BOB_CALL)
    queue.add(first)
    queue.add(other)
    assert queue.pop() is first
    queue.requeue(first)
    assert (queue.ready_count, queue.pop()) == (2, first)


def test_per_call_queue_requeued_batch_keeps_its_order() -> None:
    """So that a receiver recognises it; and a later attempt with one of them begins with another one."""
    queue = PerCallQueue(())
    notifications = [pending_notification(seq, ("SN", f"1.{seq}")) for seq in range(1, 5)]
    for notification in notifications:
        queue.add(notification)
    batch = [queue.pop() for _ in range(3)]
    for item in batch:
        assert item is not None
        queue.requeue(item)
    first = queue.pop()
    assert first is not None
    assert first is batch[0]
    queue.requeue(first)
    assert [queue.pop() for _ in range(4)] == [batch[1], batch[2], first, notifications[3]]


def test_per_call_queue_followers_of_a_failed_one_are_returned_in_order() -> None:
    """They become rows behind it; later events of the call are held back."""
    queue = PerCallQueue([BOB_CALL])
    assert not queue.add(pending_notification(9, BOB_CALL))
    events = [pending_notification(seq) for seq in (1, 2, 3)]
    for event in events:
        queue.add(event)
    queue.pop()
    assert queue.remove_followers(events[0]) == events[1:]
    assert (queue.ready_count, queue.pop()) == (0, None)


@given(st.lists(st.integers(1, 3), max_size=30), st.randoms())
def test_per_call_queue_order_within_a_call_is_kept(calls: list[int], randomness: Random) -> None:
    """However many calls there are, and in whichever order their attempts end."""
    queue, received = PerCallQueue(()), []
    events = [pending_notification(seq, ("SN", f"1.{number}")) for seq, number in enumerate(calls, 1)]
    for notification in events:
        queue.add(notification)
    under_way: list[PendingNotification] = []
    while queue.ready_count or under_way:
        while (accepted := queue.pop()) is not None:
            under_way.append(accepted)
        assert len({notification.call for notification in under_way}) == len(under_way)
        finished_notification = randomness.choice(under_way)
        under_way.remove(finished_notification)
        queue.release_next(finished_notification)
        received.append(finished_notification)
    for call in {event.call for event in events}:
        assert [notification.seq for notification in received if notification.call == call] == [
            event.seq for event in events if event.call == call
        ]
