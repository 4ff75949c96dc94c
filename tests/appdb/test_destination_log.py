"""The logs of destinations: what a commit adds, pages and filters, limits by number and age, and what is sent again."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from onhook.appdb import destination_log_rows
from onhook.appdb.appdb import AppDb
from onhook.appdb.deliveries import StaleCursor
from onhook.appdb.delivery_rows import (
    AttemptState,
    DeliveryCommit,
    HttpExchange,
    NewAttempt,
    NewDelivery,
    NewLoggedAttempt,
)
from onhook.appdb.destination_log import LogFilter, LoggedAttempt
from onhook.appdb.destination_log_rows import DAY_MICROSECONDS, LOG_BODY_BYTES_MAX, QUARTER_MICROSECONDS
from onhook.appdb.destination_spec import DestinationSpec
from onhook.lib.errors import NotFound, UsageError
from onhook.lib.timestamps import to_datetime

pytestmark = pytest.mark.usefixtures("each_engine")

NOW = 1_777_000_000_000_000
SECOND = 1_000_000
ALICE_CALL, BOB_CALL = ("SN", "1.1"), ("SN", "1.2")
EXCHANGE = HttpExchange(
    method="POST", url="http://a.example/?key=…", request_headers={"X-Key": "…"}, response_headers={"Server": "a"}
)


@pytest.fixture
async def appdb(tmp_path: Path) -> AsyncIterator[AppDb]:
    opened = AppDb(tmp_path / "onhook.db")
    for name in ("crm", "bi"):
        await opened.destinations.add(name, DestinationSpec(url="http://a.example/"), None, after=0, now_us=NOW)
    yield opened
    await opened.close()


def logged_attempt(
    seq: int,
    *,
    attempted_at: int = NOW,
    state: AttemptState = "accepted",
    call: tuple[str, str] = ALICE_CALL,
    **changes: Any,
) -> NewLoggedAttempt:
    attempt = NewAttempt(attempted_at=attempted_at, duration_ms=12, status=200, detail="HTTP 200 OK", body=b"yes \xff")
    values: dict[str, Any] = {"body": b'{"seq":%d}' % seq, "exchange": EXCHANGE}
    return NewLoggedAttempt(
        notification_id=f"e{seq}", seq=seq, call=call, state=state, attempt=attempt, **(values | changes)
    )


async def commit(appdb: AppDb, attempts: Sequence[NewLoggedAttempt], destination_id: int = 1, **changes: Any) -> None:
    values: dict[str, Any] = {
        "destination_id": destination_id, "revision": 1, "cursors": {}, "finished_replays": (), "new_deliveries": (),
        "updates": (), "attempts_succeeded": sum(attempt.state == "accepted" for attempt in attempts),
        "attempts_failed": sum(attempt.state != "accepted" for attempt in attempts), "failing_since": None,
        "retry_after": 0, "retry_all_now": False, "now_us": NOW, "logged_attempts": attempts,
    }  # fmt: skip
    await appdb.deliveries.commit(DeliveryCommit(**(values | changes)))


async def read_log(appdb: AppDb, destination_id: int = 1, **conditions: Any) -> list[LoggedAttempt]:
    return (await appdb.destination_log.page(destination_id, LogFilter(**conditions), 1_000)).data


async def test_commit_logs_each_attempt_with_what_was_sent(appdb: AppDb) -> None:
    await commit(appdb, [logged_attempt(1), logged_attempt(2, state="rejected", call=BOB_CALL, exchange=None)])
    second, first = await read_log(appdb)
    assert (first.seq, first.state, first.status, first.duration_ms, first.call_id) == (1, "accepted", 200, 12, "1.1")
    assert (second.state, second.notification_id, second.attempted_at) == ("rejected", "e2", to_datetime(NOW))
    content = await appdb.destination_log.content(1, first.attempt_id)
    assert (content.notification, content.exchange, content.response) == (
        '{"seq":1}',
        EXCHANGE,
        "yes \N{REPLACEMENT CHARACTER}",
    )
    assert (await appdb.destination_log.content(1, second.attempt_id)).exchange is None
    assert await read_log(appdb, 2) == []
    with pytest.raises(NotFound):
        await appdb.destination_log.get(2, first.attempt_id)


async def test_commit_that_is_refused_logs_nothing(appdb: AppDb) -> None:
    """The attempts are in the transaction of the results."""
    (stream,) = await appdb.destinations.streams(1)
    with pytest.raises(StaleCursor):
        await commit(appdb, [logged_attempt(1)], cursors={stream.stream_id: 7}, previous_cursors={stream.stream_id: 5})
    assert await read_log(appdb) == []
    assert await appdb.destination_log.counts(1, 0) == []


async def test_commit_without_log_counts_all_the_same(appdb: AppDb) -> None:
    await commit(appdb, (), attempts_succeeded=3, attempts_failed=1)
    await commit(appdb, (), attempts_succeeded=2)
    await commit(appdb, (), attempts_failed=1, now_us=NOW + QUARTER_MICROSECONDS)
    counts = await appdb.destination_log.counts(1, NOW - QUARTER_MICROSECONDS)
    assert [(count.accepted, count.failed) for count in counts] == [(5, 1), (0, 1)]
    assert counts[0].started_at == to_datetime(NOW // QUARTER_MICROSECONDS * QUARTER_MICROSECONDS)
    assert [count.failed for count in await appdb.destination_log.counts(1, NOW)] == [1]
    assert await read_log(appdb) == []


async def test_page_has_each_attempt_once_while_others_are_added(appdb: AppDb) -> None:
    """Also where several have the same time."""
    await commit(appdb, [logged_attempt(seq, attempted_at=NOW + seq // 3 * SECOND) for seq in range(20)])
    page = await appdb.destination_log.page(1, LogFilter(), 7)
    seqs = [attempt.seq for attempt in page.data]
    await commit(appdb, [logged_attempt(99, attempted_at=NOW + 99 * SECOND)])
    while page.next is not None:
        page = await appdb.destination_log.page(1, LogFilter(), 7, page.next)
        seqs += [attempt.seq for attempt in page.data]
    assert seqs == list(range(19, -1, -1))
    assert (await appdb.destination_log.page(1, LogFilter(), 21)).next is None


@pytest.mark.parametrize("cursor", ["x", "1", "1-", "-1", "1-x", "9" * 19 + "-1"])
async def test_page_invalid_cursor_is_rejected(appdb: AppDb, cursor: str) -> None:
    with pytest.raises(UsageError, match="invalid cursor"):
        await appdb.destination_log.page(1, LogFilter(), 7, cursor)


@pytest.mark.parametrize(
    ("conditions", "seqs"),
    [
        ({"state": "accepted"}, [4, 1]),
        ({"state": "failed"}, [3, 2]),
        ({"state": "throttled"}, [3]),
        ({"call_id": "1.2"}, [4, 3]),
        ({"call_id": "1.2", "sn": "other"}, []),
        ({"since": to_datetime(NOW + 2 * SECOND)}, [4, 3, 2]),
        ({"until": to_datetime(NOW + 2 * SECOND)}, [1]),
        ({"since": to_datetime(NOW + 2 * SECOND), "until": to_datetime(NOW + 4 * SECOND), "state": "failed"}, [3, 2]),
    ],
)
async def test_page_filters_by_state_time_and_call(appdb: AppDb, conditions: dict[str, Any], seqs: list[int]) -> None:
    states: tuple[AttemptState, ...] = ("accepted", "rejected", "throttled", "accepted")
    await commit(
        appdb,
        [
            logged_attempt(seq, attempted_at=NOW + seq * SECOND, state=state, call=ALICE_CALL if seq < 3 else BOB_CALL)
            for seq, state in enumerate(states, 1)
        ],
    )
    assert [attempt.seq for attempt in await read_log(appdb, **conditions)] == seqs


async def test_log_has_the_newest_attempts_of_each_destination(appdb: AppDb, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of attempts at the same time those that were added last. Some are deleted at once."""
    monkeypatch.setattr(destination_log_rows, "LOG_ROWS_MAX", 5)
    monkeypatch.setattr(destination_log_rows, "ROWS_AT_ONCE", 3)
    await commit(appdb, [logged_attempt(100)], destination_id=2)
    for first in (1, 5, 9):
        await commit(appdb, [logged_attempt(seq) for seq in range(first, first + 4)])
    assert [attempt.seq for attempt in await read_log(appdb)] == [12, 11, 10, 9, 8]
    await commit(appdb, [logged_attempt(seq) for seq in range(13, 16)])
    assert len(await read_log(appdb)) == 8
    await commit(appdb, [logged_attempt(16)])
    assert [attempt.seq for attempt in await read_log(appdb)] == [16, 15, 14, 13, 12]
    assert [attempt.seq for attempt in await read_log(appdb, 2)] == [100]


async def test_delete_expired_deletes_by_the_days_of_each_destination(appdb: AppDb) -> None:
    """One whose row cannot be read has the days of the installation."""
    for destination_id in (1, 2):
        attempts = [logged_attempt(age, attempted_at=NOW - age * DAY_MICROSECONDS) for age in (6, 3, 1)]
        await commit(appdb, attempts, destination_id)
    assert await appdb.destination_log.delete_expired({1: 5}, 2, now_us=NOW) == 3
    assert [[attempt.seq for attempt in await read_log(appdb, number)] for number in (1, 2)] == [[1, 3], [1]]
    assert await appdb.destination_log.delete_expired({1: 0, 2: 1}, 30, now_us=NOW) == 2


async def test_delete_expired_without_expired_attempts_writes_nothing(appdb: AppDb) -> None:
    await commit(appdb, [logged_attempt(1)])
    version = await appdb.version()
    assert await appdb.destination_log.delete_expired({}, 1, now_us=NOW) == 0
    assert await appdb.version() == version


async def test_delete_expired_deletes_more_than_a_batch_and_old_counts(
    appdb: AppDb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(destination_log_rows, "ROWS_AT_ONCE", 2)
    await commit(appdb, [logged_attempt(seq) for seq in range(5)])
    later = NOW + 40 * DAY_MICROSECONDS
    assert await appdb.destination_log.delete_expired({}, 30, now_us=later) == 5
    assert await appdb.destination_log.counts(1, 0) == []


async def test_delete_for_calls_deletes_attempts_of_these_alone(appdb: AppDb) -> None:
    for destination_id in (1, 2):
        await commit(appdb, [logged_attempt(1), logged_attempt(2, call=BOB_CALL)], destination_id)
    assert [attempt.destination_id for attempt in await appdb.destination_log.list_for_call(ALICE_CALL)] == [2, 1]
    assert await appdb.destination_log.delete_for_calls([ALICE_CALL, ("SN", "9.9")]) == 2
    version = await appdb.version()
    assert await appdb.destination_log.delete_for_calls([ALICE_CALL]) == 0
    assert await appdb.version() == version
    assert [attempt.call_id for attempt in await read_log(appdb)] == ["1.2"]


async def test_removed_destination_has_no_log(appdb: AppDb) -> None:
    """An attempt in progress adds nothing any more."""
    await commit(appdb, [logged_attempt(1)])
    await appdb.destinations.remove("crm")
    await commit(appdb, [logged_attempt(2)])
    await appdb.destination_log.add(1, logged_attempt(3))
    assert await read_log(appdb) == []
    assert await appdb.destination_log.list_for_call(ALICE_CALL) == []


async def test_resend_of_a_delivered_notification_is_a_new_delivery(appdb: AppDb) -> None:
    """It has the same id and body, and all attempts of the retry policy; the audit log has an entry."""
    await commit(appdb, [logged_attempt(1)])
    (attempt,) = await read_log(appdb)
    delivery_id = await appdb.destination_log.resend(1, attempt.attempt_id, now_us=NOW + 5)
    (due,) = await appdb.deliveries.list_due(1, NOW + 5, 9)
    assert (due.delivery_id, due.notification_id, due.seq, due.call, due.body, due.attempts) == (
        *(delivery_id, "e1", 1, ALICE_CALL, b'{"seq":1}', 0),
    )
    assert await appdb.destination_log.resend(1, attempt.attempt_id, now_us=NOW + 6) == delivery_id
    actions = [entry.action for entry in await appdb.audit.latest(9)]
    assert f"add deliveries {delivery_id}" in actions


@pytest.mark.parametrize("state", ["failed", "retrying"])
async def test_resend_of_an_undelivered_notification_retries_its_delivery(appdb: AppDb, state: Any) -> None:
    attempt = logged_attempt(1, state="rejected")
    delivery = NewDelivery(
        notification_id="e1", seq=1, call=ALICE_CALL, body=b"{}", due_at=NOW + 3_600 * SECOND, pending_since=NOW,
        state=state, attempt=attempt.attempt,
    )  # fmt: skip
    await commit(appdb, [attempt], new_deliveries=[delivery])
    (logged,) = await read_log(appdb)
    delivery_id = await appdb.destination_log.resend(1, logged.attempt_id, now_us=NOW)
    (stored,) = await appdb.deliveries.page(1, None, 9)
    assert (stored.delivery_id, stored.state, stored.due_at, stored.attempts) == (
        *(delivery_id, "retrying", to_datetime(NOW), 0),
    )


async def test_resend_of_a_test_or_a_cut_notification_is_refused(appdb: AppDb) -> None:
    """So is one of another destination."""
    long_body = b'"%s"' % (b"x" * LOG_BODY_BYTES_MAX)
    long_exchange = HttpExchange(method="POST", url="http://a/", request_headers={}, body=long_body.decode())
    await appdb.destination_log.add(1, logged_attempt(0, is_test=True))
    await commit(appdb, [logged_attempt(2, body=long_body, exchange=long_exchange)])
    cut, sample = await read_log(appdb)
    assert sample.is_test
    content = await appdb.destination_log.content(1, cut.attempt_id)
    assert (len(content.notification), content.is_cut) == (LOG_BODY_BYTES_MAX, True)
    assert content.exchange is not None
    assert (len(content.exchange.body or ""), content.exchange.is_body_cut) == (LOG_BODY_BYTES_MAX, True)
    for attempt_id, expected_text in ((sample.attempt_id, "a test"), (cut.attempt_id, "too long")):
        with pytest.raises(UsageError, match=expected_text):
            await appdb.destination_log.resend(1, attempt_id, now_us=NOW)
    with pytest.raises(NotFound):
        await appdb.destination_log.resend(2, cut.attempt_id, now_us=NOW)
    assert await appdb.deliveries.page(1, None, 9) == []
