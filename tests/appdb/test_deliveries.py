"""Deliveries in trouble: who has a turn, what is settled, what is kept."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.deliveries import (
    ATTEMPT_ROWS_MAX,
    DELIVERED_ROWS_MAX,
    DUE_AFTER_PREDECESSOR,
    Backlog,
    Deliveries,
    DeliveryCommit,
    DeliveryUpdate,
    NewAttempt,
    NewDelivery,
)
from onhook.appdb.destination_spec import DestinationSpec
from onhook.cdr.record_filter import RecordFilter
from onhook.lib.errors import NotFound, UsageError

NOW = 1_777_000_000_000_000
ALICE_CALL, BOB_CALL = ("SN", "1.1"), ("SN", "1.2")


@pytest.fixture
def appdb(tmp_path: Path) -> Iterator[AppDb]:
    opened = AppDb(tmp_path / "onhook.db")
    opened.destinations.add("crm", DestinationSpec(url="http://a.example/"), None, after=0, now_us=NOW)
    yield opened
    opened.close()


def _try(at: int = NOW) -> NewAttempt:
    return NewAttempt(attempted_at=at, duration_ms=12, status=500, detail="answered 500", body=b"oh \xff")


def _trouble(seq: int, call: tuple[str, str], due_at: int = 0, attempt: NewAttempt | None = None) -> NewDelivery:
    return NewDelivery(
        notification_id=f"e{seq}",
        seq=seq,
        call=call,
        body=b"{%d}" % seq,
        due_at=due_at,
        pending_since=NOW,
        attempt=attempt,
    )


def _settle(deliveries: Deliveries, **changes: Any) -> set[tuple[str, str]]:
    values: dict[str, Any] = {
        "destination_id": 1, "revision": 1, "cursors": {}, "finished_replays": (), "new_deliveries": (), "updates": (),
        "attempts_succeeded": 0, "attempts_failed": 0, "failing_since": None, "retry_after": 0,
        "retry_all_now": False, "now_us": NOW,
    }  # fmt: skip
    return deliveries.commit(DeliveryCommit(**(values | changes)))


def _retried(
    number: int, state: Any = "delivered", call: tuple[str, str] = ALICE_CALL, attempts_before: int = 1
) -> DeliveryUpdate:
    return DeliveryUpdate(
        delivery_id=number,
        call=call,
        state=state,
        due_at=NOW + 9,
        attempts=2,
        attempts_before=attempts_before,
        attempt=_try(),
    )


def test_of_each_call_only_the_first_has_its_turn(appdb: AppDb) -> None:
    """The second one of a call follows when the first went through, or was parked."""
    deliveries = appdb.deliveries
    _settle(
        deliveries,
        new_deliveries=[
            _trouble(1, ALICE_CALL, NOW + 5, _try()),
            _trouble(2, ALICE_CALL, DUE_AFTER_PREDECESSOR),
            _trouble(3, BOB_CALL, NOW + 1, _try()),
        ],
    )
    assert [delivery.seq for delivery in deliveries.list_due(1, NOW, 9)] == []
    assert deliveries.next_due_at(1) == NOW + 1
    assert [delivery.seq for delivery in deliveries.list_due(1, NOW + 5, 9)] == [3, 1]
    assert _settle(deliveries, updates=[_retried(1, "failed"), _retried(3, call=BOB_CALL)]) == {BOB_CALL}
    (due,) = deliveries.list_due(1, NOW, 9)
    assert (due.seq, due.body, due.attempts, due.call) == (2, b"{2}", 0, ALICE_CALL)
    assert deliveries.retrying_calls(1) == {ALICE_CALL}
    assert deliveries.backlog(1) == Backlog(retrying=1, failed=1, oldest_pending_at=NOW)


def test_settling_moves_cursors_and_counts(appdb: AppDb) -> None:
    """A replay that has ended is gone, the live stream never is."""
    appdb.destinations.replay("crm", RecordFilter(), after=0, until=5, now_us=NOW)
    live, replay = appdb.destinations.streams(1)
    _settle(
        appdb.deliveries,
        cursors={live.stream_id: 42},
        finished_replays=[live.stream_id, replay.stream_id],
        attempts_succeeded=40,
        attempts_failed=2,
        failing_since=NOW,
    )
    (left,) = appdb.destinations.streams(1)
    one = appdb.destinations.get("crm")
    assert (left.cursor, one.attempts_succeeded, one.attempts_failed) == (42, 40, 2)
    assert one.failing_since is not None
    assert one.revision == 1


def test_what_waits_can_be_hastened(appdb: AppDb) -> None:
    """When an application is there again nothing waits out its pause."""
    _settle(appdb.deliveries, new_deliveries=[_trouble(1, ALICE_CALL, NOW + 3_600_000_000, _try())])
    _settle(appdb.deliveries, retry_all_now=True)
    assert [delivery.seq for delivery in appdb.deliveries.list_due(1, NOW, 9)] == [1]


def test_people_retry_and_drop(appdb: AppDb) -> None:
    """One, or all; each is another revision, and what is not there is told."""
    deliveries = appdb.deliveries
    _settle(deliveries, new_deliveries=[_trouble(n, ("SN", str(n)), NOW + 9, _try()) for n in range(1, 5)])
    _settle(deliveries, updates=[_retried(n, "failed") for n in range(1, 4)])
    before = appdb.destinations.revisions()[1]
    deliveries.retry(1, now_us=NOW)
    assert [
        (delivery.delivery_id, delivery.state, delivery.attempts) for delivery in deliveries.page(1, "retrying", 9)
    ] == [
        (1, "retrying", 0),
        (4, "retrying", 1),
    ]
    deliveries.discard(2, now_us=NOW)
    assert deliveries.discard_failed(1) == 1
    assert deliveries.retry_all(1, now_us=NOW) == 2
    assert appdb.destinations.revisions()[1] > before
    for act in (deliveries.get, lambda number: deliveries.discard(number, now_us=NOW), deliveries.body):
        with pytest.raises(NotFound, match="no delivery 2"):
            act(2)


def test_attempts_are_shown_and_bounded(appdb: AppDb) -> None:
    """The newest are kept, whatever bytes an application answered."""
    deliveries = appdb.deliveries
    _settle(deliveries, new_deliveries=[_trouble(1, ALICE_CALL, NOW, _try(NOW))])
    for n in range(ATTEMPT_ROWS_MAX + 5):
        retried = DeliveryUpdate(
            delivery_id=1,
            call=ALICE_CALL,
            state="retrying",
            due_at=NOW,
            attempts=n + 2,
            attempts_before=n + 1,
            attempt=_try(NOW + n + 1),
        )
        _settle(deliveries, updates=[retried])
    attempts = deliveries.attempts(1)
    assert len(attempts) == ATTEMPT_ROWS_MAX
    assert attempts[-1].attempted_at > attempts[0].attempted_at
    assert (attempts[0].status, attempts[0].detail, attempts[0].body) == (500, "answered 500", "oh \ufffd")


def test_what_went_through_is_remembered_for_a_while(appdb: AppDb) -> None:
    """The newest of them, and neither waits nor is parked."""
    count = DELIVERED_ROWS_MAX + 3
    _settle(appdb.deliveries, new_deliveries=[_trouble(n, ("SN", str(n)), NOW, _try()) for n in range(1, count + 1)])
    _settle(appdb.deliveries, updates=[_retried(n) for n in range(1, count + 1)])
    kept = appdb.deliveries.page(1, "delivered", 1_000)
    assert [kept[0].delivery_id, len(kept)] == [4, DELIVERED_ROWS_MAX]
    assert [delivery.delivery_id for delivery in appdb.deliveries.newest(1, "delivered", 2)] == [count, count - 1]
    assert appdb.deliveries.backlog(1) == Backlog()


def test_settling_what_was_dropped_meanwhile_is_no_error(appdb: AppDb) -> None:
    """A person is faster than an attempt under way."""
    _settle(appdb.deliveries, new_deliveries=[_trouble(1, ALICE_CALL, NOW, _try())])
    appdb.deliveries.discard(1, now_us=NOW)
    _settle(appdb.deliveries, updates=[_retried(1)])
    assert appdb.deliveries.page(1, None, 9) == []


def test_an_event_waits_in_one_row(appdb: AppDb) -> None:
    """One that is read again after a crash is no second row; one that is parked waits again."""
    deliveries = appdb.deliveries
    _settle(deliveries, new_deliveries=[_trouble(1, ALICE_CALL, NOW, _try())])
    _settle(deliveries, new_deliveries=[_trouble(1, ALICE_CALL, NOW + 9, _try())])
    assert [(delivery.delivery_id, delivery.state) for delivery in deliveries.page(1, None, 9)] == [(1, "retrying")]
    _settle(deliveries, updates=[_retried(1, "failed")])
    _settle(deliveries, new_deliveries=[_trouble(1, ALICE_CALL, NOW + 9, _try())])
    assert [(delivery.delivery_id, delivery.state) for delivery in deliveries.page(1, None, 9)] == [(1, "retrying")]
    assert len(deliveries.attempts(1)) == 3
    assert deliveries.notification_ids_after(1, 0) == {"e1"}
    assert deliveries.notification_ids_after(1, 1) == set()


def test_a_delivered_event_can_be_owed_once_more(appdb: AppDb) -> None:
    """By a replay; then it cannot be retried beside that."""
    deliveries = appdb.deliveries
    _settle(deliveries, new_deliveries=[_trouble(1, ALICE_CALL, NOW, _try())])
    _settle(deliveries, updates=[_retried(1)])
    _settle(deliveries, new_deliveries=[_trouble(1, ALICE_CALL, NOW, _try())])
    assert [delivery.state for delivery in deliveries.page(1, None, 9)] == ["delivered", "retrying"]
    with pytest.raises(UsageError, match="owed once more already"):
        deliveries.retry(1, now_us=NOW)


def test_who_is_out_of_the_way_lets_the_next_have_its_turn(appdb: AppDb) -> None:
    """A row that is dropped, or retried ahead of another one of its call."""
    deliveries = appdb.deliveries
    held = [_trouble(n, ALICE_CALL, DUE_AFTER_PREDECESSOR) for n in (2, 3)]
    _settle(deliveries, new_deliveries=[_trouble(1, ALICE_CALL, NOW, _try()), *held])
    deliveries.discard(1, now_us=NOW)
    assert [delivery.seq for delivery in deliveries.list_due(1, NOW, 9)] == [2]
    _settle(deliveries, updates=[_retried(2, "failed", attempts_before=0)])
    assert [delivery.seq for delivery in deliveries.list_due(1, NOW, 9)] == [3]
    deliveries.retry(2, now_us=NOW)
    assert [delivery.seq for delivery in deliveries.list_due(1, NOW, 9)] == [2]
    deliveries.retry_all(1, now_us=NOW + 1)
    assert [delivery.seq for delivery in deliveries.list_due(1, NOW + 1, 9)] == [2]


def test_a_failure_does_not_undo_what_a_person_did_meanwhile(appdb: AppDb) -> None:
    """An attempt that was under way parks nothing that a person has retried, but what was taken is taken."""
    deliveries = appdb.deliveries
    _settle(deliveries, new_deliveries=[_trouble(1, ALICE_CALL, NOW, _try())])
    deliveries.retry(1, now_us=NOW)
    _settle(deliveries, updates=[_retried(1, "failed")])
    assert [(delivery.state, delivery.attempts) for delivery in deliveries.page(1, None, 9)] == [("retrying", 0)]
    assert len(deliveries.attempts(1)) == 2
    _settle(deliveries, updates=[_retried(1)])
    assert [delivery.state for delivery in deliveries.page(1, None, 9)] == ["delivered"]


def test_what_was_thought_of_an_application_ends_with_its_revision(appdb: AppDb) -> None:
    """A lane that ends after a person's resume neither has it fail nor wait; what it counted counts."""
    subscriptions = appdb.destinations
    _settle(appdb.deliveries, failing_since=NOW, retry_after=NOW + 5, attempts_failed=1)
    one = subscriptions.get("crm")
    assert (one.failing_since is None, one.retry_after is None) == (False, False)
    subscriptions.set_state("crm", "active")
    _settle(appdb.deliveries, failing_since=NOW, retry_after=NOW + 5, attempts_failed=1)
    one = subscriptions.get("crm")
    assert (one.failing_since, one.retry_after, one.attempts_failed) == (None, None, 2)


def test_a_wait_outlives_a_change_but_not_another_address(appdb: AppDb) -> None:
    """Until a person says `now`, or the application is another one."""
    _settle(appdb.deliveries, new_deliveries=[_trouble(1, ALICE_CALL, NOW, _try())])
    for act, is_kept in (
        (lambda: appdb.destinations.change("crm", {"headers": {"X-Key": "1"}}), True),
        (lambda: appdb.destinations.change("crm", {"url": "http://b.example/"}), False),
        (lambda: appdb.deliveries.retry(1, now_us=NOW), False),
        (lambda: appdb.deliveries.retry_all(1, now_us=NOW), False),
    ):
        _settle(appdb.deliveries, retry_after=NOW + 5, revision=appdb.destinations.get("crm").revision)
        act()
        assert (appdb.destinations.get("crm").retry_after is not None) is is_kept
