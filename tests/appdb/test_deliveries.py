"""Deliveries: what is due, what is committed, what is kept."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.deliveries import (
    ATTEMPT_ROWS_MAX,
    DELIVERED_ROWS_MAX,
    DUE_AFTER_PREDECESSOR,
    Deliveries,
    StaleCursor,
)
from onhook.appdb.delivery_rows import Backlog, DeliveryCommit, DeliveryUpdate, NewAttempt, NewDelivery
from onhook.appdb.destination_spec import DestinationSpec
from onhook.cdr.record_filter import RecordFilter
from onhook.lib.errors import NotFound, UsageError

pytestmark = pytest.mark.usefixtures("each_engine")

NOW = 1_777_000_000_000_000
ALICE_CALL, BOB_CALL = ("SN", "1.1"), ("SN", "1.2")


@pytest.fixture
async def appdb(tmp_path: Path) -> AsyncIterator[AppDb]:
    opened = AppDb(tmp_path / "onhook.db")
    await opened.destinations.add("crm", DestinationSpec(url="http://a.example/"), None, after=0, now_us=NOW)
    yield opened
    await opened.close()


def _try(attempted_at: int = NOW) -> NewAttempt:
    return NewAttempt(attempted_at=attempted_at, duration_ms=12, status=500, detail="HTTP 500", body=b"oh \xff")


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


async def _settle(deliveries: Deliveries, **changes: Any) -> set[tuple[str, str]]:
    values: dict[str, Any] = {
        "destination_id": 1, "revision": 1, "cursors": {}, "finished_replays": (), "new_deliveries": (), "updates": (),
        "attempts_succeeded": 0, "attempts_failed": 0, "failing_since": None, "retry_after": 0,
        "retry_all_now": False, "now_us": NOW,
    }  # fmt: skip
    return await deliveries.commit(DeliveryCommit(**(values | changes)))


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


async def test_list_due_returns_the_first_of_each_call(appdb: AppDb) -> None:
    """The second one of a call is due when the first is delivered or has failed."""
    deliveries = appdb.deliveries
    await _settle(
        deliveries,
        new_deliveries=[
            _trouble(1, ALICE_CALL, NOW + 5, _try()),
            _trouble(2, ALICE_CALL, DUE_AFTER_PREDECESSOR),
            _trouble(3, BOB_CALL, NOW + 1, _try()),
        ],
    )
    assert [delivery.seq for delivery in await deliveries.list_due(1, NOW, 9)] == []
    assert await deliveries.next_due_at(1) == NOW + 1
    assert [delivery.seq for delivery in await deliveries.list_due(1, NOW + 5, 9)] == [3, 1]
    assert await _settle(deliveries, updates=[_retried(1, "failed"), _retried(3, call=BOB_CALL)]) == {BOB_CALL}
    (due,) = await deliveries.list_due(1, NOW, 9)
    assert (due.seq, due.body, due.attempts, due.call) == (2, b"{2}", 0, ALICE_CALL)
    assert await deliveries.retrying_calls(1) == {ALICE_CALL}
    assert await deliveries.backlog(1) == Backlog(retrying=1, failed=1, oldest_pending_at=NOW)


async def test_commit_moves_cursors_and_counts(appdb: AppDb) -> None:
    """A replay that has ended is removed, the live stream never is."""
    await appdb.destinations.replay("crm", RecordFilter(), after=0, until=5, now_us=NOW)
    live, replay = await appdb.destinations.streams(1)
    await _settle(
        appdb.deliveries,
        cursors={live.stream_id: 42},
        finished_replays=[live.stream_id, replay.stream_id],
        attempts_succeeded=40,
        attempts_failed=2,
        failing_since=NOW,
    )
    (left,) = await appdb.destinations.streams(1)
    destination = await appdb.destinations.get("crm")
    assert (left.cursor, destination.attempts_succeeded, destination.attempts_failed) == (42, 40, 2)
    assert destination.failing_since is not None
    assert destination.revision == 1


async def test_commit_reachable_application_makes_pending_rows_due(appdb: AppDb) -> None:
    await _settle(appdb.deliveries, new_deliveries=[_trouble(1, ALICE_CALL, NOW + 3_600_000_000, _try())])
    await _settle(appdb.deliveries, retry_all_now=True)
    assert [delivery.seq for delivery in await appdb.deliveries.list_due(1, NOW, 9)] == [1]


async def test_retry_and_discard_by_a_person(appdb: AppDb) -> None:
    """One, or all; each changes the revision, and an unknown one is not found."""
    deliveries = appdb.deliveries
    await _settle(deliveries, new_deliveries=[_trouble(n, ("SN", str(n)), NOW + 9, _try()) for n in range(1, 5)])
    await _settle(deliveries, updates=[_retried(n, "failed") for n in range(1, 4)])
    before = (await appdb.destinations.revisions())[1]
    await deliveries.retry(1, now_us=NOW)
    assert [
        (delivery.delivery_id, delivery.state, delivery.attempts)
        for delivery in await deliveries.page(1, "retrying", 9)
    ] == [
        (1, "retrying", 0),
        (4, "retrying", 1),
    ]
    await deliveries.discard(2, now_us=NOW)
    assert await deliveries.discard_failed(1) == 1
    assert await deliveries.retry_all(1, now_us=NOW) == 2
    assert (await appdb.destinations.revisions())[1] > before
    for act in (deliveries.get, lambda number: deliveries.discard(number, now_us=NOW), deliveries.body):
        with pytest.raises(NotFound, match="no delivery 2"):
            await act(2)


async def test_attempts_are_limited(appdb: AppDb) -> None:
    """The newest are kept, whatever bytes an application answered."""
    deliveries = appdb.deliveries
    await _settle(deliveries, new_deliveries=[_trouble(1, ALICE_CALL, NOW, _try(NOW))])
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
        await _settle(deliveries, updates=[retried])
    attempts = await deliveries.attempts(1)
    assert len(attempts) == ATTEMPT_ROWS_MAX
    assert attempts[-1].attempted_at > attempts[0].attempted_at
    assert (attempts[0].status, attempts[0].detail, attempts[0].body) == (500, "HTTP 500", "oh \ufffd")


async def test_delivered_rows_are_kept_up_to_a_limit(appdb: AppDb) -> None:
    """The newest of them; they are neither pending nor failed."""
    count = DELIVERED_ROWS_MAX + 3
    await _settle(
        appdb.deliveries, new_deliveries=[_trouble(n, ("SN", str(n)), NOW, _try()) for n in range(1, count + 1)]
    )
    await _settle(appdb.deliveries, updates=[_retried(n) for n in range(1, count + 1)])
    delivered_rows = await appdb.deliveries.page(1, "delivered", 1_000)
    assert [delivered_rows[0].delivery_id, len(delivered_rows)] == [4, DELIVERED_ROWS_MAX]
    assert [delivery.delivery_id for delivery in await appdb.deliveries.newest(1, "delivered", 2)] == [count, count - 1]
    assert await appdb.deliveries.backlog(1) == Backlog()


async def test_commit_of_a_discarded_row_is_no_error(appdb: AppDb) -> None:
    """A person may be faster than an attempt in progress."""
    await _settle(appdb.deliveries, new_deliveries=[_trouble(1, ALICE_CALL, NOW, _try())])
    await appdb.deliveries.discard(1, now_us=NOW)
    await _settle(appdb.deliveries, updates=[_retried(1)])
    assert await appdb.deliveries.page(1, None, 9) == []


async def test_insert_same_event_again_keeps_one_row(appdb: AppDb) -> None:
    """An event read again after a crash is no second row; a failed one becomes pending again."""
    deliveries = appdb.deliveries
    await _settle(deliveries, new_deliveries=[_trouble(1, ALICE_CALL, NOW, _try())])
    await _settle(deliveries, new_deliveries=[_trouble(1, ALICE_CALL, NOW + 9, _try())])
    assert [(delivery.delivery_id, delivery.state) for delivery in await deliveries.page(1, None, 9)] == [
        (1, "retrying")
    ]
    await _settle(deliveries, updates=[_retried(1, "failed")])
    await _settle(deliveries, new_deliveries=[_trouble(1, ALICE_CALL, NOW + 9, _try())])
    assert [(delivery.delivery_id, delivery.state) for delivery in await deliveries.page(1, None, 9)] == [
        (1, "retrying")
    ]
    assert len(await deliveries.attempts(1)) == 3
    assert await deliveries.notification_ids_after(1, 0) == {"e1"}
    assert await deliveries.notification_ids_after(1, 1) == set()


async def test_delivered_event_can_be_pending_again(appdb: AppDb) -> None:
    """By a replay; then it cannot be retried beside that."""
    deliveries = appdb.deliveries
    await _settle(deliveries, new_deliveries=[_trouble(1, ALICE_CALL, NOW, _try())])
    await _settle(deliveries, updates=[_retried(1)])
    await _settle(deliveries, new_deliveries=[_trouble(1, ALICE_CALL, NOW, _try())])
    assert [delivery.state for delivery in await deliveries.page(1, None, 9)] == ["delivered", "retrying"]
    with pytest.raises(UsageError, match="already due"):
        await deliveries.retry(1, now_us=NOW)


async def test_discard_makes_the_next_event_of_the_call_due(appdb: AppDb) -> None:
    """So does a retry ahead of another event of the call."""
    deliveries = appdb.deliveries
    held_deliveries = [_trouble(n, ALICE_CALL, DUE_AFTER_PREDECESSOR) for n in (2, 3)]
    await _settle(deliveries, new_deliveries=[_trouble(1, ALICE_CALL, NOW, _try()), *held_deliveries])
    await deliveries.discard(1, now_us=NOW)
    assert [delivery.seq for delivery in await deliveries.list_due(1, NOW, 9)] == [2]
    await _settle(deliveries, updates=[_retried(2, "failed", attempts_before=0)])
    assert [delivery.seq for delivery in await deliveries.list_due(1, NOW, 9)] == [3]
    await deliveries.retry(2, now_us=NOW)
    assert [delivery.seq for delivery in await deliveries.list_due(1, NOW, 9)] == [2]
    await deliveries.retry_all(1, now_us=NOW + 1)
    assert [delivery.seq for delivery in await deliveries.list_due(1, NOW + 1, 9)] == [2]


async def test_commit_failure_does_not_undo_a_retry_by_a_person(appdb: AppDb) -> None:
    """An attempt in progress fails nothing that a person has retried; a success counts."""
    deliveries = appdb.deliveries
    await _settle(deliveries, new_deliveries=[_trouble(1, ALICE_CALL, NOW, _try())])
    await deliveries.retry(1, now_us=NOW)
    await _settle(deliveries, updates=[_retried(1, "failed")])
    assert [(delivery.state, delivery.attempts) for delivery in await deliveries.page(1, None, 9)] == [("retrying", 0)]
    assert len(await deliveries.attempts(1)) == 2
    await _settle(deliveries, updates=[_retried(1)])
    assert [delivery.state for delivery in await deliveries.page(1, None, 9)] == ["delivered"]


async def test_commit_of_an_older_revision_leaves_the_health_alone(appdb: AppDb) -> None:
    """A worker that ends after a person's resume neither sets failing nor a time to wait; its counters count."""
    subscriptions = appdb.destinations
    await _settle(appdb.deliveries, failing_since=NOW, retry_after=NOW + 5, attempts_failed=1)
    destination = await subscriptions.get("crm")
    assert (destination.failing_since is None, destination.retry_after is None) == (False, False)
    await subscriptions.set_state("crm", "active")
    await _settle(appdb.deliveries, failing_since=NOW, retry_after=NOW + 5, attempts_failed=1)
    destination = await subscriptions.get("crm")
    assert (destination.failing_since, destination.retry_after, destination.attempts_failed) == (None, None, 2)


async def test_retry_after_survives_a_change_but_not_another_address(appdb: AppDb) -> None:
    """Until a person retries now."""
    await _settle(appdb.deliveries, new_deliveries=[_trouble(1, ALICE_CALL, NOW, _try())])
    for act, is_kept in (
        (lambda: appdb.destinations.change("crm", {"headers": {"X-Key": "1"}}), True),
        (lambda: appdb.destinations.change("crm", {"url": "http://b.example/"}), False),
        (lambda: appdb.deliveries.retry(1, now_us=NOW), False),
        (lambda: appdb.deliveries.retry_all(1, now_us=NOW), False),
    ):
        await _settle(appdb.deliveries, retry_after=NOW + 5, revision=(await appdb.destinations.get("crm")).revision)
        await act()
        assert ((await appdb.destinations.get("crm")).retry_after is not None) is is_kept


async def test_commit_of_a_stream_that_was_moved_commits_nothing(appdb: AppDb) -> None:
    """By another process; a stream that was removed meanwhile does not matter."""
    (stream,) = await appdb.destinations.streams(1)
    await _settle(appdb.deliveries, cursors={stream.stream_id: 5}, previous_cursors={stream.stream_id: stream.cursor})
    results = {"cursors": {stream.stream_id: 9}, "attempts_succeeded": 1}
    with pytest.raises(StaleCursor):
        await _settle(appdb.deliveries, **results, previous_cursors={stream.stream_id: 4})
    (destination,) = await appdb.destinations.all()
    assert destination.attempts_succeeded == 0
    await _settle(appdb.deliveries, **results, previous_cursors={stream.stream_id: 5, 99: 1})
    assert [each.cursor for each in await appdb.destinations.streams(1)] == [9]


async def test_commit_keeps_what_is_done_ahead_of_the_cursor(appdb: AppDb) -> None:
    (stream,) = await appdb.destinations.streams(1)
    await _settle(appdb.deliveries, cursors={stream.stream_id: 5}, done_ahead={stream.stream_id: ("e7", "e9")})
    assert [each.done_ahead for each in await appdb.destinations.streams(1)] == [{"e7", "e9"}]
    await _settle(appdb.deliveries, cursors={stream.stream_id: 9})
    assert [each.done_ahead for each in await appdb.destinations.streams(1)] == [frozenset()]
