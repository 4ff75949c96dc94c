"""Events that did not go through at once: a row each, with its attempts, until an application has taken it.

Laws: what is settled is settled in one transaction with the cursors that it stands for, so a process that dies at any
moment goes on where it was, and owes at most what was under way again. Within one call only the first that waits has
its turn; all behind it are due `AT_ITS_TURN`. An event that is not delivered has one row per subscription.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from onhook.appdb.sqlite import SqliteDatabase
from onhook.lib.errors import NotFound, UsageError
from onhook.lib.timestamps import to_datetime

DeliveryState = Literal["waiting", "parked", "delivered"]
CallKey = tuple[str, str]
"""(`sn`, `call_id`)."""

UNDELIVERED_MAX = 50_000
"""Rows that wait or are parked of one subscription. Measured: 56 MB where an application answers little, 120 MB where
it answered a kibibyte once, 741 MB where it did so ten times. Beyond it nothing new is tried, and stays owed."""

DELIVERED_ROWS_MAX = 200
"""Of those that went through after some attempts: so that a person sees how the trouble of this morning ended."""

ATTEMPT_ROWS_MAX = 20
"""Of each: the plan has ten, and a person may try again."""

DUE_AFTER_PREDECESSOR = 2**62
"""When an event that waits behind another one of its call is due: never, until that one is out of its way."""

_COLUMNS = "delivery_id, subscription_id, state, event_id, seq, sn, call_id, attempts, due_at, owed_at"

_WHERE_RETRYING_CALL = "subscription_id = ? AND state = 'waiting' AND sn = ? AND call_id = ?"

CALL_DELIVERIES_MAX = 200
"""Rows of one call that are looked at: each of some legs owed to each of some applications."""


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One event owed to one subscription. `due_at` is when it is tried next, None where that is not up to us."""

    delivery_id: int
    subscription_id: int
    state: DeliveryState
    event_id: str
    seq: int
    sn: str
    call_id: str
    attempts: int
    due_at: datetime | None
    owed_at: datetime


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One try. `status` is None where no answer came; `said` tells what came of it, `body` is how the answer begins."""

    at: datetime
    milliseconds: int
    status: int | None
    said: str
    body: str


class DueDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """A row whose turn it is, with all that sending it takes."""

    delivery_id: int
    event_id: str
    seq: int
    call: CallKey
    body: bytes
    attempts: int
    busy: int


class NewAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one attempt, as it is noted; `at` in microseconds since 1970."""

    at: int
    milliseconds: int
    status: int | None
    said: str
    body: bytes


class NewDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """A new row: an event that failed, with its `attempt`, or one that waits behind such a one, without."""

    event_id: str
    seq: int
    call: CallKey
    body: bytes
    due_at: int
    owed_at: int
    state: DeliveryState = "waiting"
    attempt: NewAttempt | None = None


class DeliveryUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """A row that was tried again: what is to become of it.

    `attempts_before` is how many it had when it was taken up: other than that where a person has retried it meanwhile.
    `busy` is how often in a row the application asked for time instead of taking it.
    """

    delivery_id: int
    call: CallKey
    state: DeliveryState
    due_at: int
    attempts: int
    attempts_before: int
    attempt: NewAttempt
    busy: int = 0


class DeliveryCommit(msgspec.Struct, frozen=True, kw_only=True):
    """All that came of some work for one subscription, as it was in one `revision`. `ended` are replays that are done;
    `not_before` is until when the application asked to be left alone, 0 where it did not."""

    subscription_id: int
    revision: int
    cursors: Mapping[int, int]
    ended: Sequence[int]
    troubles: Sequence[NewDelivery]
    retried: Sequence[DeliveryUpdate]
    delivered: int
    failed: int
    failing_since: int | None
    not_before: int
    hastens: bool
    """Whether all that wait are due now: the application is there again."""
    at: int


class Backlog(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of one subscription that wait or are parked, and since when the oldest one waits."""

    waiting: int = 0
    parked: int = 0
    oldest_at: int | None = None

    @property
    def is_full(self) -> bool:
        """Whether they are so many that nothing new is tried."""
        return self.waiting + self.parked >= UNDELIVERED_MAX


class Deliveries:
    """What is kept of deliveries. Moments that go in are microseconds since 1970, UTC."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    # -- for the one who sends

    def due(self, subscription_id: int, at: int, limit: int) -> list[DueDelivery]:
        """Rows whose turn it is, the longest due first: of each call its first."""
        rows = self._database.rows(
            "SELECT delivery_id, event_id, seq, sn, call_id, body, attempts, busy FROM deliveries"
            " WHERE subscription_id = ? AND state = 'waiting' AND due_at <= ? ORDER BY due_at, delivery_id LIMIT ?",
            (subscription_id, at, limit),
        )
        return [
            DueDelivery(
                delivery_id=delivery_id,
                event_id=notification_id,
                seq=seq,
                call=(sn, call_id),
                body=body,
                attempts=attempts,
                busy=busy_count,
            )
            for delivery_id, notification_id, seq, sn, call_id, body, attempts, busy_count in rows
        ]

    def next_due_at(self, subscription_id: int) -> int | None:
        """When the next row has its turn; None where none waits."""
        rows = self._database.rows(
            "SELECT min(due_at) FROM deliveries WHERE subscription_id = ? AND state = 'waiting'", (subscription_id,)
        )
        due_at: int | None = rows[0][0]
        return due_at

    def event_ids_behind(self, subscription_id: int, seq: int) -> set[str]:
        """The events behind a number that are rows already: who reads on from there must not owe them again."""
        rows = self._database.rows(
            "SELECT event_id FROM deliveries WHERE subscription_id = ? AND seq > ?", (subscription_id, seq)
        )
        return {notification_id for (notification_id,) in rows}

    def waiting_calls(self, subscription_id: int) -> set[CallKey]:
        """The calls of which something waits: their later events must wait too."""
        rows = self._database.rows(
            "SELECT DISTINCT sn, call_id FROM deliveries WHERE subscription_id = ? AND state = 'waiting'",
            (subscription_id,),
        )
        return {(sn, call_id) for sn, call_id in rows}

    def backlog(self, subscription_id: int) -> Backlog:
        """How many wait and are parked."""
        return self._backlogs("subscription_id = ? AND", (subscription_id,)).get(subscription_id, Backlog())

    def backlogs(self) -> dict[int, Backlog]:
        """The same of every subscription that has any, by its number."""
        return self._backlogs("", ())

    def settle(self, one: DeliveryCommit) -> set[CallKey]:
        """Note all of it, durably, or nothing; calls that were retried and of which nothing waits any more.

        Raises `Unavailable`.
        """
        with self._database.transaction():
            if not self._database.rows("SELECT 1 FROM subscriptions WHERE subscription_id = ?", (one.subscription_id,)):
                return set()  # removed meanwhile: nothing is owed to it
            for new_delivery in one.troubles:
                self._add(one.subscription_id, new_delivery)
            for update in one.retried:
                self._note(update)
            for stream_id, cursor in one.cursors.items():
                self._database.write("UPDATE streams SET cursor = ? WHERE stream_id = ?", (cursor, stream_id))
            for stream_id in one.ended:
                self._database.write("DELETE FROM streams WHERE stream_id = ? AND until IS NOT NULL", (stream_id,))
            self._note_health(one)
            if one.hastens:
                self._hasten(one.subscription_id, one.at)
            if one.retried:
                self._forget_delivered(one.subscription_id)
            updated_calls = {update.call for update in one.retried}
            calls = updated_calls | {new_delivery.call for new_delivery in one.troubles}
            still_retrying = {call for call in calls if self._line_up(one.subscription_id, call, one.at)}
            return updated_calls - still_retrying

    def owe(self, subscription_id: int, one: NewDelivery) -> None:
        """Owe an event that stands on no stream; within a transaction of the one who calls."""
        self._add(subscription_id, one)
        self._line_up(subscription_id, one.call, one.due_at)
        self._touch(subscription_id)

    # -- for people

    def page(self, subscription_id: int, state: DeliveryState | None, limit: int, after: int = 0) -> list[Delivery]:
        """Rows of one subscription after a number, in order of number."""
        rows = self._database.rows(
            f"SELECT {_COLUMNS} FROM deliveries WHERE subscription_id = ?1 AND delivery_id > ?2"
            " AND (?3 IS NULL OR state = ?3) ORDER BY delivery_id LIMIT ?4",
            (subscription_id, after, state, limit),
        )
        return [_delivery(row) for row in rows]

    def newest(self, subscription_id: int, state: DeliveryState, limit: int) -> list[Delivery]:
        """Rows of one subscription in one state, the newest first."""
        rows = self._database.rows(
            f"SELECT {_COLUMNS} FROM deliveries WHERE subscription_id = ? AND state = ?"
            " ORDER BY delivery_id DESC LIMIT ?",
            (subscription_id, state, limit),
        )
        return [_delivery(row) for row in rows]

    def of_call(self, sn: str, call_id: str) -> list[Delivery]:
        """Rows of one call, in order of number: those that did not go through at once."""
        rows = self._database.rows(
            f"SELECT {_COLUMNS} FROM deliveries WHERE call_id = ? AND sn = ? ORDER BY delivery_id LIMIT ?",
            (call_id, sn, CALL_DELIVERIES_MAX),
        )
        return [_delivery(row) for row in rows]

    def owes(self, sn: str, call_id: str) -> bool:
        """Whether anything of a call waits or is parked, of however many rows."""
        return bool(
            self._database.rows(
                "SELECT 1 FROM deliveries WHERE call_id = ? AND sn = ? AND state <> 'delivered' LIMIT 1", (call_id, sn)
            )
        )

    def get(self, delivery_id: int) -> Delivery:
        """One row. Raises `NotFound`."""
        rows = self._database.rows(f"SELECT {_COLUMNS} FROM deliveries WHERE delivery_id = ?", (delivery_id,))
        if not rows:
            raise NotFound(
                f"there is no delivery {delivery_id}", todo="`onhook subscribe deliveries` lists them: it may be done"
            )
        return _delivery(rows[0])

    def body(self, delivery_id: int) -> bytes:
        """The event's bytes. Raises `NotFound`."""
        self.get(delivery_id)
        rows = self._database.rows("SELECT body FROM deliveries WHERE delivery_id = ?", (delivery_id,))
        return bytes(rows[0][0]) if rows else b""

    def attempts(self, delivery_id: int) -> list[Attempt]:
        """The latest tries of a row, the first of them first."""
        rows = self._database.rows(
            "SELECT at, milliseconds, status, said, body FROM attempts WHERE delivery_id = ? ORDER BY attempt_id",
            (delivery_id,),
        )
        return [
            Attempt(
                at=to_datetime(attempted_at),
                milliseconds=duration_ms,
                status=status,
                said=detail,
                body=body.decode(errors="replace"),
            )
            for attempted_at, duration_ms, status, detail, body in rows
        ]

    def retry(self, delivery_id: int, *, at: int) -> None:
        """Try one again, now, with all attempts of the plan before it. Raises `NotFound`, and `UsageError` for one that
        went through and waits once more as another delivery."""
        delivery = self.get(delivery_id)
        try:
            with self._database.transaction():
                self._database.write(
                    "UPDATE deliveries SET state = 'waiting', attempts = 0, busy = 0, due_at = ? WHERE delivery_id = ?",
                    (at, delivery_id),
                )
                self._line_up(delivery.subscription_id, (delivery.sn, delivery.call_id), at)
                self._have_tried(delivery.subscription_id)
        except sqlite3.IntegrityError:
            raise UsageError(
                f"the event of delivery {delivery_id} is owed once more already", todo="retry that delivery"
            ) from None

    def drop(self, delivery_id: int, *, at: int) -> None:
        """Owe one no more; what waits behind it has its turn. Raises `NotFound`."""
        delivery = self.get(delivery_id)
        with self._database.transaction():
            self._database.write("DELETE FROM deliveries WHERE delivery_id = ?", (delivery_id,))
            self._line_up(delivery.subscription_id, (delivery.sn, delivery.call_id), at)
            self._touch(delivery.subscription_id)

    def retry_all(self, subscription_id: int, *, at: int) -> int:
        """Try all that wait or are parked, now; how many they are."""
        with self._database.transaction():
            count = self._database.write(
                "UPDATE deliveries SET state = 'waiting', attempts = 0, busy = 0, due_at = ? WHERE subscription_id = ?"
                " AND state <> 'delivered'",
                (DUE_AFTER_PREDECESSOR, subscription_id),
            )
            self._database.write(
                "UPDATE deliveries SET due_at = ? WHERE delivery_id IN (SELECT min(delivery_id) FROM deliveries"
                " WHERE subscription_id = ? AND state = 'waiting' GROUP BY sn, call_id)",
                (at, subscription_id),
            )
            self._have_tried(subscription_id)
        return count

    def drop_parked(self, subscription_id: int) -> int:
        """Owe those that are parked no more; how many they were."""
        with self._database.transaction():
            count = self._database.write(
                "DELETE FROM deliveries WHERE subscription_id = ? AND state = 'parked'", (subscription_id,)
            )
            self._touch(subscription_id)
        return count

    def _backlogs(self, which: str, values: tuple[int, ...]) -> dict[int, Backlog]:
        # Apart from the oldest, which an index tells at once: together they would be counted three times as slowly.
        rows = self._database.rows(
            f"SELECT subscription_id, state, count(*) FROM deliveries WHERE {which} state IN ('waiting', 'parked')"
            " GROUP BY subscription_id, state",
            values,
        )
        counts: dict[int, dict[str, int]] = {}
        for destination_id, state, count in rows:
            counts.setdefault(destination_id, {})[state] = count
        return {
            destination_id: Backlog(**state_counts, oldest_at=self._oldest_at(destination_id))
            for destination_id, state_counts in counts.items()
        }

    def _oldest_at(self, subscription_id: int) -> int | None:
        rows = self._database.rows(
            "SELECT min(owed_at) FROM deliveries WHERE subscription_id = ? AND state = 'waiting'", (subscription_id,)
        )
        pending_since: int | None = rows[0][0]
        return pending_since

    def _have_tried(self, subscription_id: int) -> None:
        """A person means now, whatever time the application asked for."""
        self._database.write("UPDATE subscriptions SET not_before = 0 WHERE subscription_id = ?", (subscription_id,))
        self._touch(subscription_id)

    def _touch(self, subscription_id: int) -> None:
        self._database.write(
            "UPDATE subscriptions SET revision = revision + 1 WHERE subscription_id = ?", (subscription_id,)
        )

    def _add(self, subscription_id: int, one: NewDelivery) -> None:
        """A row of its own; where its event waits already that one stays, and one that is parked waits again."""
        rows = self._database.rows(
            "INSERT INTO deliveries (subscription_id, state, event_id, seq, sn, call_id, body, attempts, due_at,"
            " owed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (subscription_id, event_id) WHERE state <> 'delivered' DO UPDATE SET state = excluded.state,"
            " attempts = excluded.attempts, due_at = excluded.due_at WHERE state = 'parked' RETURNING delivery_id",
            (subscription_id, one.state, one.event_id, one.seq, *one.call, one.body, one.attempt is not None,
             one.due_at, one.owed_at),
        )  # fmt: skip
        if rows and one.attempt is not None:
            self._add_attempt(rows[0][0], one.attempt)

    def _note(self, one: DeliveryUpdate) -> None:
        # That it was taken counts whatever a person did meanwhile; that it failed, only where nobody has retried it.
        self._database.write(
            "UPDATE deliveries SET state = ?1, due_at = ?2, attempts = ?3, busy = ?4 WHERE delivery_id = ?5"
            " AND (?1 = 'delivered' OR (state = 'waiting' AND attempts = ?6))",
            (one.state, one.due_at, one.attempts, one.busy, one.delivery_id, one.attempts_before),
        )
        if self._database.rows("SELECT 1 FROM deliveries WHERE delivery_id = ?", (one.delivery_id,)):
            self._add_attempt(one.delivery_id, one.attempt)

    def _note_health(self, one: DeliveryCommit) -> None:
        """What was counted counts; what was thought of the application does not, where a person has changed something
        since."""
        self._database.write(
            "UPDATE subscriptions SET delivered = delivered + ?1, failed = failed + ?2,"
            " failing_since = CASE revision WHEN ?5 THEN ?3 ELSE failing_since END,"
            " not_before = CASE revision WHEN ?5 THEN ?4 ELSE not_before END WHERE subscription_id = ?6",
            (one.delivered, one.failed, one.failing_since, one.not_before, one.revision, one.subscription_id),
        )

    def _add_attempt(self, delivery_id: int, one: NewAttempt) -> None:
        self._database.write(
            "INSERT INTO attempts (delivery_id, at, milliseconds, status, said, body) VALUES (?, ?, ?, ?, ?, ?)",
            (delivery_id, one.at, one.milliseconds, one.status, one.said, one.body),
        )
        self._database.write(
            "DELETE FROM attempts WHERE delivery_id = ?1 AND attempt_id <="
            " (SELECT attempt_id FROM attempts WHERE delivery_id = ?1 ORDER BY attempt_id DESC LIMIT 1 OFFSET ?2)",
            (delivery_id, ATTEMPT_ROWS_MAX),
        )

    def _line_up(self, subscription_id: int, call: CallKey, at: int) -> bool:
        """Give the first of a call that waits its turn, and have the others wait behind it; whether any waits."""
        values = (subscription_id, *call)
        rows = self._database.rows(f"SELECT min(delivery_id) FROM deliveries WHERE {_WHERE_RETRYING_CALL}", values)
        (first,) = rows[0]
        if first is None:
            return False
        self._database.write(
            "UPDATE deliveries SET due_at = ? WHERE delivery_id = ? AND due_at = ?", (at, first, DUE_AFTER_PREDECESSOR)
        )
        self._database.write(
            f"UPDATE deliveries SET due_at = ? WHERE {_WHERE_RETRYING_CALL} AND delivery_id > ? AND due_at < ?",
            (DUE_AFTER_PREDECESSOR, *values, first, DUE_AFTER_PREDECESSOR),
        )
        return True

    def _hasten(self, subscription_id: int, at: int) -> None:
        self._database.write(
            "UPDATE deliveries SET due_at = ?1 WHERE subscription_id = ?2 AND state = 'waiting' AND due_at > ?1"
            " AND due_at < ?3",
            (at, subscription_id, DUE_AFTER_PREDECESSOR),
        )

    def _forget_delivered(self, subscription_id: int) -> None:
        self._database.write(
            "DELETE FROM deliveries WHERE subscription_id = ?1 AND state = 'delivered' AND delivery_id <="
            " (SELECT delivery_id FROM deliveries WHERE subscription_id = ?1 AND state = 'delivered'"
            " ORDER BY delivery_id DESC LIMIT 1 OFFSET ?2)",
            (subscription_id, DELIVERED_ROWS_MAX),
        )


def _delivery(row: tuple[Any, ...]) -> Delivery:
    delivery_id, destination_id, state, notification_id, seq, sn, call_id, attempts, due_at, pending_since = row
    has_time = state == "waiting" and due_at != DUE_AFTER_PREDECESSOR
    return Delivery(
        delivery_id=delivery_id,
        subscription_id=destination_id,
        state=state,
        event_id=notification_id,
        seq=seq,
        sn=sn,
        call_id=call_id,
        attempts=attempts,
        due_at=to_datetime(due_at) if has_time else None,
        owed_at=to_datetime(pending_since),
    )
