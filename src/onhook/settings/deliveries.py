"""Events that did not go through at once: a row each, with its attempts, until an application has taken it.

Laws: what is settled is settled in one transaction with the cursors that it stands for, so a process that dies at any
moment goes on where it was, and owes at most what was under way again. Within one call only the first that waits has
its turn.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from onhook.errors import NotFound
from onhook.settings.database import Database
from onhook.settings.moments import moment

DeliveryState = Literal["waiting", "parked", "delivered"]
CallKey = tuple[str, str]
"""(`sn`, `call_id`)."""

TROUBLED_MAX = 50_000
"""Rows that wait or are parked of one subscription: some 50 MB. Beyond it nothing new is tried, and stays owed."""

DELIVERED_KEPT = 200
"""Of those that went through after some attempts: so that a person sees how the trouble of this morning ended."""

ATTEMPTS_KEPT = 20
"""Of each: the plan has ten, and a person may try again."""

AT_ITS_TURN = 0
"""When an event that waits behind another one of its call is due."""

_DELIVERY = "delivery_id, subscription_id, state, event_id, seq, sn, call_id, attempts, due_at, owed_at"

_IS_FIRST = (
    "NOT EXISTS (SELECT 1 FROM deliveries e WHERE e.subscription_id = d.subscription_id AND e.state = 'waiting'"
    " AND e.sn = d.sn AND e.call_id = d.call_id AND e.delivery_id < d.delivery_id)"
)


OF_CALL_MAX = 200
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


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """A row whose turn it is, with all that sending it takes."""

    delivery_id: int
    event_id: str
    seq: int
    call: CallKey
    body: bytes
    attempts: int


class Try(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one attempt, as it is noted; `at` in microseconds since 1970."""

    at: int
    milliseconds: int
    status: int | None
    said: str
    body: bytes


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """A new row: an event that failed, with its `attempt`, or one that waits behind such a one, without."""

    event_id: str
    seq: int
    call: CallKey
    body: bytes
    due_at: int
    owed_at: int
    state: DeliveryState = "waiting"
    attempt: Try | None = None


class Retried(msgspec.Struct, frozen=True, kw_only=True):
    """A row that was tried again: what is to become of it."""

    delivery_id: int
    call: CallKey
    state: DeliveryState
    due_at: int
    attempts: int
    attempt: Try


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """All that came of a stretch of work for one subscription. `ended` are replays that are done."""

    subscription_id: int
    cursors: Mapping[int, int]
    ended: Sequence[int]
    troubles: Sequence[Trouble]
    retried: Sequence[Retried]
    delivered: int
    failed: int
    failing_since: int | None
    hastens: bool
    """Whether all that wait are due now: the application is there again."""
    at: int


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of one subscription that wait or are parked, and since when the oldest one waits."""

    waiting: int = 0
    parked: int = 0
    oldest_at: int | None = None


class Deliveries:
    """What is kept of deliveries. Moments that go in are microseconds since 1970, UTC."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- for the one who sends

    def due(self, subscription_id: int, at: int, limit: int) -> list[Due]:
        """Rows whose turn it is, the longest due first: of each call its first."""
        rows = self._database.rows(
            "SELECT delivery_id, event_id, seq, sn, call_id, body, attempts FROM deliveries d"
            f" WHERE subscription_id = ? AND state = 'waiting' AND due_at <= ? AND {_IS_FIRST}"
            " ORDER BY due_at, delivery_id LIMIT ?",
            (subscription_id, at, limit),
        )
        return [
            Due(delivery_id=number, event_id=event_id, seq=seq, call=(sn, call_id), body=body, attempts=attempts)
            for number, event_id, seq, sn, call_id, body, attempts in rows
        ]

    def next_due_at(self, subscription_id: int) -> int | None:
        """When the next row has its turn; None where none waits."""
        rows = self._database.rows(
            f"SELECT min(due_at) FROM deliveries d WHERE subscription_id = ? AND state = 'waiting' AND {_IS_FIRST}",
            (subscription_id,),
        )
        at: int | None = rows[0][0]
        return at

    def waiting_calls(self, subscription_id: int) -> set[CallKey]:
        """The calls of which something waits: their later events must wait too."""
        rows = self._database.rows(
            "SELECT DISTINCT sn, call_id FROM deliveries WHERE subscription_id = ? AND state = 'waiting'",
            (subscription_id,),
        )
        return {(sn, call_id) for sn, call_id in rows}

    def standing(self, subscription_id: int) -> Standing:
        """How many wait and are parked."""
        rows = self._database.rows(
            "SELECT state, count(*), min(owed_at) FROM deliveries"
            " WHERE subscription_id = ? AND state IN ('waiting', 'parked') GROUP BY state",
            (subscription_id,),
        )
        found = {state: (count, oldest) for state, count, oldest in rows}
        waiting, oldest = found.get("waiting", (0, None))
        return Standing(waiting=waiting, parked=found.get("parked", (0, None))[0], oldest_at=oldest)

    def settle(self, one: Settlement) -> set[CallKey]:
        """Note all of it, durably, or nothing; calls that were retried and of which nothing waits any more.

        Raises `Unavailable`.
        """
        with self._database.transaction():
            if not self._database.rows("SELECT 1 FROM subscriptions WHERE subscription_id = ?", (one.subscription_id,)):
                return set()  # removed meanwhile: nothing is owed to it
            for trouble in one.troubles:
                self._add(one.subscription_id, trouble)
            for retried in one.retried:
                self._note(retried)
            for stream_id, cursor in one.cursors.items():
                self._database.write("UPDATE streams SET cursor = ? WHERE stream_id = ?", (cursor, stream_id))
            for stream_id in one.ended:
                self._database.write("DELETE FROM streams WHERE stream_id = ? AND until IS NOT NULL", (stream_id,))
            if one.hastens:
                self._hasten(one.subscription_id, one.at)
            self._database.write(
                "UPDATE subscriptions SET delivered = delivered + ?, failed = failed + ?, failing_since = ?"
                " WHERE subscription_id = ?",
                (one.delivered, one.failed, one.failing_since, one.subscription_id),
            )
            if one.retried:
                self._forget_delivered(one.subscription_id)
            return {call for call in {retried.call for retried in one.retried} if not self._waits(one, call)}

    def owe(self, subscription_id: int, one: Trouble) -> None:
        """Owe an event that stands on no stream; within a transaction of the one who calls."""
        self._add(subscription_id, one)
        self._touch(subscription_id)

    # -- for people

    def page(self, subscription_id: int, state: DeliveryState | None, limit: int, after: int = 0) -> list[Delivery]:
        """Rows of one subscription after a number, in order of number."""
        rows = self._database.rows(
            f"SELECT {_DELIVERY} FROM deliveries WHERE subscription_id = ?1 AND delivery_id > ?2"
            " AND (?3 IS NULL OR state = ?3) ORDER BY delivery_id LIMIT ?4",
            (subscription_id, after, state, limit),
        )
        return [_delivery(row) for row in rows]

    def of_call(self, sn: str, call_id: str) -> list[Delivery]:
        """Rows of one call, in order of number: those that did not go through at once."""
        rows = self._database.rows(
            f"SELECT {_DELIVERY} FROM deliveries WHERE call_id = ? AND sn = ? ORDER BY delivery_id LIMIT ?",
            (call_id, sn, OF_CALL_MAX),
        )
        return [_delivery(row) for row in rows]

    def get(self, delivery_id: int) -> Delivery:
        """One row. Raises `NotFound`."""
        rows = self._database.rows(f"SELECT {_DELIVERY} FROM deliveries WHERE delivery_id = ?", (delivery_id,))
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
            Attempt(at=moment(at), milliseconds=took, status=status, said=said, body=body.decode(errors="replace"))
            for at, took, status, said, body in rows
        ]

    def retry(self, delivery_id: int, *, at: int) -> None:
        """Try one again, now, with all attempts of the plan before it. Raises `NotFound`."""
        self._act(self.get(delivery_id), "UPDATE deliveries SET state = 'waiting', attempts = 0, due_at = ?", at)

    def drop(self, delivery_id: int) -> None:
        """Owe one no more. Raises `NotFound`."""
        self._act(self.get(delivery_id), "DELETE FROM deliveries")

    def retry_all(self, subscription_id: int, *, at: int) -> int:
        """Try all that wait or are parked, now; how many they are."""
        return self._act_on_all(
            "UPDATE deliveries SET state = 'waiting', attempts = 0, due_at = ? WHERE subscription_id = ?"
            " AND state <> 'delivered'",
            (at, subscription_id),
        )

    def drop_parked(self, subscription_id: int) -> int:
        """Owe those that are parked no more; how many they were."""
        return self._act_on_all(
            "DELETE FROM deliveries WHERE subscription_id = ? AND state = 'parked'", (subscription_id,)
        )

    def _act(self, one: Delivery, statement: str, *values: int) -> None:
        with self._database.transaction():
            self._database.write(f"{statement} WHERE delivery_id = ?", (*values, one.delivery_id))
            self._touch(one.subscription_id)

    def _act_on_all(self, statement: str, values: tuple[int, ...]) -> int:
        with self._database.transaction():
            count = self._database.write(statement, values)
            self._touch(values[-1])
        return count

    def _touch(self, subscription_id: int) -> None:
        self._database.write(
            "UPDATE subscriptions SET revision = revision + 1 WHERE subscription_id = ?", (subscription_id,)
        )

    def _add(self, subscription_id: int, one: Trouble) -> None:
        rows = self._database.rows(
            "INSERT INTO deliveries (subscription_id, state, event_id, seq, sn, call_id, body, attempts, due_at,"
            " owed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING delivery_id",
            (subscription_id, one.state, one.event_id, one.seq, *one.call, one.body, one.attempt is not None,
             one.due_at, one.owed_at),
        )  # fmt: skip
        if one.attempt is not None:
            self._add_attempt(rows[0][0], one.attempt)

    def _note(self, one: Retried) -> None:
        changed = self._database.write(
            "UPDATE deliveries SET state = ?, due_at = ?, attempts = ? WHERE delivery_id = ?",
            (one.state, one.due_at, one.attempts, one.delivery_id),
        )
        if changed:  # a person may have dropped it meanwhile
            self._add_attempt(one.delivery_id, one.attempt)

    def _add_attempt(self, delivery_id: int, one: Try) -> None:
        self._database.write(
            "INSERT INTO attempts (delivery_id, at, milliseconds, status, said, body) VALUES (?, ?, ?, ?, ?, ?)",
            (delivery_id, one.at, one.milliseconds, one.status, one.said, one.body),
        )
        self._database.write(
            "DELETE FROM attempts WHERE delivery_id = ?1 AND attempt_id <="
            " (SELECT attempt_id FROM attempts WHERE delivery_id = ?1 ORDER BY attempt_id DESC LIMIT 1 OFFSET ?2)",
            (delivery_id, ATTEMPTS_KEPT),
        )

    def _waits(self, one: Settlement, call: CallKey) -> bool:
        rows = self._database.rows(
            "SELECT 1 FROM deliveries WHERE subscription_id = ? AND state = 'waiting' AND sn = ? AND call_id = ?"
            " LIMIT 1",
            (one.subscription_id, *call),
        )
        return bool(rows)

    def _hasten(self, subscription_id: int, at: int) -> None:
        self._database.write(
            "UPDATE deliveries SET due_at = ?1 WHERE subscription_id = ?2 AND state = 'waiting' AND due_at > ?1",
            (at, subscription_id),
        )

    def _forget_delivered(self, subscription_id: int) -> None:
        self._database.write(
            "DELETE FROM deliveries WHERE subscription_id = ?1 AND state = 'delivered' AND delivery_id <="
            " (SELECT delivery_id FROM deliveries WHERE subscription_id = ?1 AND state = 'delivered'"
            " ORDER BY delivery_id DESC LIMIT 1 OFFSET ?2)",
            (subscription_id, DELIVERED_KEPT),
        )


def _delivery(row: tuple[Any, ...]) -> Delivery:
    number, subscription_id, state, event_id, seq, sn, call_id, attempts, due_at, owed_at = row
    has_time = state == "waiting" and due_at != AT_ITS_TURN
    return Delivery(
        delivery_id=number,
        subscription_id=subscription_id,
        state=state,
        event_id=event_id,
        seq=seq,
        sn=sn,
        call_id=call_id,
        attempts=attempts,
        due_at=moment(due_at) if has_time else None,
        owed_at=moment(owed_at),
    )
