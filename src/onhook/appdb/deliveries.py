"""Deliveries: notifications that were not delivered at once, a row each with its attempts, until the endpoint accepts
them.

Invariants: results are stored in one transaction with the cursors, so a process that dies at any moment continues where
it was, and repeats at most the notifications in progress. Of one call only the first retrying notification is tried;
all behind it have `DUE_AFTER_PREDECESSOR`. An undelivered notification has one row per destination.
"""

from collections.abc import Sequence
from typing import Any

from onhook.appdb.audited_tables import Change
from onhook.appdb.contract import ConstraintViolation, Database, Statement, transactional
from onhook.appdb.delivery_rows import (
    Attempt,
    Backlog,
    Delivery,
    DeliveryCommit,
    DeliveryState,
    DeliveryUpdate,
    DueDelivery,
    NewAttempt,
    NewDelivery,
)
from onhook.appdb.destination_log_rows import DestinationLogRows
from onhook.appdb.external_ids import ExternalIds
from onhook.appdb.stored_json import encode_column, read_row, read_rows
from onhook.cdr.identity import CallKey
from onhook.lib.errors import NotFound, OnhookError, UsageError
from onhook.lib.messages import _
from onhook.lib.timestamps import to_datetime

DELIVERED_ROWS_MAX = 200
"""Rows delivered after several attempts that are kept: they show how this morning's problem ended."""

ATTEMPT_ROWS_MAX = 20
"""Attempts stored per row: the retry policy has ten, and a person may retry."""

DUE_AFTER_PREDECESSOR = 2**62
"""Due time of a notification behind another one of its call: never, until the other one is done."""

_COLUMNS = "delivery_id, destination_id, state, notification_id, seq, sn, call_id, attempts, due_at, pending_since"

# The column of `throttle_count` is `busy_count`.
_SET_RETRY_NOW = "state = 'retrying', attempts = 0, busy_count = 0, due_at = ?"

_CURSORS_OF_DESTINATION = (
    "SELECT stream_id, cursor FROM destinations LEFT JOIN streams USING (destination_id) WHERE destination_id = ?"
)

_WHERE_RETRYING_CALL = "destination_id = ? AND state = 'retrying' AND sn = ? AND call_id = ?"

CALL_DELIVERIES_MAX = 200
"""Rows of one call that are listed: some legs for some endpoints."""


class StaleCursor(OnhookError):
    """A stream is not where its worker left it: nothing was committed, and the worker begins anew."""


class Deliveries:
    """Repository of deliveries. Times passed in are microseconds since 1970, UTC."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._external_ids = ExternalIds(database)
        self._log = DestinationLogRows(database)

    # For the worker

    async def list_due(self, destination_id: int, now_us: int, limit: int) -> list[DueDelivery]:
        """Return due rows, the longest due first, the first of each call only."""
        rows = await self._database.rows(
            "SELECT delivery_id, notification_id, seq, sn, call_id, body, attempts, busy_count, pending_since"
            " FROM deliveries WHERE destination_id = ? AND state = 'retrying' AND due_at <= ?"
            " ORDER BY due_at, delivery_id LIMIT ?",
            (destination_id, now_us, limit),
        )
        return [
            DueDelivery(
                delivery_id=delivery_id,
                notification_id=notification_id,
                seq=seq,
                call=(sn, call_id),
                body=body,
                attempts=attempts,
                throttle_count=throttle_count,
                pending_since=pending_since,
            )
            for delivery_id, notification_id, seq, sn, call_id, body, attempts, throttle_count, pending_since in rows
        ]

    async def next_due_at(self, destination_id: int) -> int | None:
        """Return the time when the next row is due; None without a retrying row."""
        rows = await self._database.rows(
            "SELECT min(due_at) FROM deliveries WHERE destination_id = ? AND state = 'retrying'", (destination_id,)
        )
        due_at: int | None = rows[0][0]
        return due_at

    async def notification_ids_after(self, destination_id: int, seq: int) -> set[str]:
        """Return the notifications after a ledger number that are rows already, so that reading on does not add them
        again.
        """
        rows = await self._database.rows(
            "SELECT notification_id FROM deliveries WHERE destination_id = ? AND seq > ?", (destination_id, seq)
        )
        return {notification_id for (notification_id,) in rows}

    async def retrying_calls(self, destination_id: int) -> set[CallKey]:
        """Return the calls with a retrying notification: their later notifications must wait."""
        rows = await self._database.rows(
            "SELECT DISTINCT sn, call_id FROM deliveries WHERE destination_id = ? AND state = 'retrying'",
            (destination_id,),
        )
        return {(sn, call_id) for sn, call_id in rows}

    async def backlog(self, destination_id: int) -> Backlog:
        """Return the numbers of retrying and failed rows."""
        return (await self._backlogs("destination_id = ? AND", (destination_id,))).get(destination_id, Backlog())

    async def backlogs(self) -> dict[int, Backlog]:
        """Return the backlog of every destination that has one, by its number."""
        return await self._backlogs("", ())

    async def commit(self, changes: DeliveryCommit) -> set[CallKey]:
        """Store all results durably, or none. Return the calls that were retried and have nothing pending any longer.

        Raises `Unavailable`, and `StaleCursor` where a stream was moved meanwhile.
        """
        async with self._database.transaction():
            if not await self._store_progress(changes):
                return set()  # removed meanwhile: nothing is pending for it
            await self._insert(changes.destination_id, changes.new_deliveries)
            await self._apply_updates(changes.updates)
            if changes.retry_all_now:
                await self._make_retries_due(changes.destination_id, changes.now_us)
            if changes.external_ids:
                await self._external_ids.put(changes.destination_id, changes.external_ids)
            await self._log.add_results(changes)
            if changes.updates:
                await self._delete_old_delivered(changes.destination_id)
            updated_calls = {update.call for update in changes.updates}
            calls = updated_calls | {new_delivery.call for new_delivery in changes.new_deliveries}
            still_retrying = await self._schedule_calls(changes.destination_id, list(calls), changes.now_us)
            return updated_calls - still_retrying

    async def _store_progress(self, changes: DeliveryCommit) -> bool:
        """Store cursors, counters and health, in one hop; return whether the destination is there. Raises `StaleCursor`
        where a stream was moved since its cursor was read; one that was removed is ignored.
        """
        cursor_rows, *_other_rows = await self._database.rows_each(
            [
                (_CURSORS_OF_DESTINATION, (changes.destination_id,)),
                *(
                    _cursor_update(stream_id, cursor, changes.done_ahead.get(stream_id))
                    for stream_id, cursor in changes.cursors.items()
                ),
                *(
                    ("DELETE FROM streams WHERE stream_id = ? AND until IS NOT NULL", (stream_id,))
                    for stream_id in changes.finished_replays
                ),
                _health_update(changes),
            ]
        )
        for stream_id, cursor in cursor_rows:
            if stream_id in changes.previous_cursors and cursor != changes.previous_cursors[stream_id]:
                raise StaleCursor(_("stream {stream_id} was moved by another process", stream_id=stream_id))
        return bool(cursor_rows)

    async def add(self, destination_id: int, new_delivery: NewDelivery) -> None:
        """Add a notification that is on no stream."""
        async with self._database.transaction():
            await self._insert(destination_id, [new_delivery])
            await self._schedule_calls(destination_id, [new_delivery.call], new_delivery.due_at)
            await self._increment_revision(destination_id)

    # For people

    async def page(
        self, destination_id: int, state: DeliveryState | None, limit: int, after: int = 0
    ) -> list[Delivery]:
        """Return rows of one destination after a number, in order of number."""
        rows = await self._database.rows(
            f"SELECT {_COLUMNS} FROM deliveries WHERE destination_id = ?1 AND delivery_id > ?2"
            " AND (?3 IS NULL OR state = ?3) ORDER BY delivery_id LIMIT ?4",
            (destination_id, after, state, limit),
        )
        return read_rows(rows, _delivery)

    async def newest(self, destination_id: int, state: DeliveryState, limit: int) -> list[Delivery]:
        """Return rows of one destination in one state, the newest first."""
        rows = await self._database.rows(
            f"SELECT {_COLUMNS} FROM deliveries WHERE destination_id = ? AND state = ?"
            " ORDER BY delivery_id DESC LIMIT ?",
            (destination_id, state, limit),
        )
        return read_rows(rows, _delivery)

    async def list_for_call(self, sn: str, call_id: str) -> list[Delivery]:
        """Return the rows of one call, in order of number: notifications that were not delivered at once."""
        rows = await self._database.rows(
            f"SELECT {_COLUMNS} FROM deliveries WHERE call_id = ? AND sn = ? ORDER BY delivery_id LIMIT ?",
            (call_id, sn, CALL_DELIVERIES_MAX),
        )
        return read_rows(rows, _delivery)

    async def find_undelivered(self, calls: Sequence[CallKey]) -> set[CallKey]:
        """Return those of these calls with a notification that is retrying or failed."""
        rows = await self._database.rows_many(
            "SELECT 1 FROM deliveries WHERE sn = ? AND call_id = ? AND state <> 'delivered' LIMIT 1", calls
        )
        return {call for call, call_rows in zip(calls, rows, strict=True) if call_rows}

    async def get(self, delivery_id: int) -> Delivery:
        """Return one row. Raises `NotFound`."""
        rows = await self._database.rows(f"SELECT {_COLUMNS} FROM deliveries WHERE delivery_id = ?", (delivery_id,))
        if not rows:
            raise NotFound(
                _("there is no delivery {delivery_id}", delivery_id=delivery_id),
                hint=_("it may be delivered; `onhook destination deliveries` lists them"),
            )
        return read_row(rows[0], _delivery)

    async def body(self, delivery_id: int) -> bytes:
        """Return the notification's bytes. Raises `NotFound`."""
        await self.get(delivery_id)
        rows = await self._database.rows("SELECT body FROM deliveries WHERE delivery_id = ?", (delivery_id,))
        return bytes(rows[0][0]) if rows else b""

    async def attempts(self, delivery_id: int) -> list[Attempt]:
        """Return the latest attempts of a row, in order of time."""
        rows = await self._database.rows(
            "SELECT attempted_at, duration_ms, status, detail, body FROM attempts WHERE delivery_id = ?"
            " ORDER BY attempt_id",
            (delivery_id,),
        )
        return [
            Attempt(
                attempted_at=to_datetime(attempted_at),
                duration_ms=duration_ms,
                status=status,
                detail=detail,
                body=body.decode(errors="replace"),
            )
            for attempted_at, duration_ms, status, detail, body in rows
        ]

    @transactional
    async def retry(self, delivery_id: int, *, now_us: int) -> None:
        """Retry a row now, with all attempts of the retry policy. Raises `NotFound`, and `UsageError` for a delivered
        one whose notification is retrying in another delivery.
        """
        delivery = await self.get(delivery_id)
        try:
            async with self._database.transaction():
                await self._database.write(
                    f"UPDATE deliveries SET {_SET_RETRY_NOW} WHERE delivery_id = ?",
                    (now_us, delivery_id),
                )
                await self._schedule_calls(delivery.destination_id, [(delivery.sn, delivery.call_id)], now_us)
                await self._reset_retry_after(delivery.destination_id)
                self._database.note_change(_change(delivery_id, delivery.state, "retrying"))
        except ConstraintViolation:
            raise UsageError(
                _("the notification of delivery {delivery_id} is already due", delivery_id=delivery_id),
                hint=_("retry that delivery"),
            ) from None

    @transactional
    async def discard(self, delivery_id: int, *, now_us: int) -> None:
        """Discard a row; the notifications behind it become due. Raises `NotFound`."""
        delivery = await self.get(delivery_id)
        async with self._database.transaction():
            await self._database.write("DELETE FROM deliveries WHERE delivery_id = ?", (delivery_id,))
            self._database.note_change(_change(delivery_id, delivery.state, "discarded"))
            await self._schedule_calls(delivery.destination_id, [(delivery.sn, delivery.call_id)], now_us)
            await self._increment_revision(delivery.destination_id)

    async def delete_delivered(self, calls: Sequence[CallKey]) -> None:
        """Delete the delivered rows of deleted calls."""
        await self._database.write_many(
            "DELETE FROM deliveries WHERE sn = ? AND call_id = ? AND state = 'delivered'", list(calls)
        )

    async def retry_all(self, destination_id: int, *, now_us: int) -> int:
        """Retry all retrying and failed rows now; return their number."""
        async with self._database.transaction():
            count = await self._database.write(
                f"UPDATE deliveries SET {_SET_RETRY_NOW} WHERE destination_id = ? AND state <> 'delivered'",
                (DUE_AFTER_PREDECESSOR, destination_id),
            )
            await self._database.write(
                "UPDATE deliveries SET due_at = ? WHERE delivery_id IN (SELECT min(delivery_id) FROM deliveries"
                " WHERE destination_id = ? AND state = 'retrying' GROUP BY sn, call_id)",
                (now_us, destination_id),
            )
            await self._reset_retry_after(destination_id)
            self._database.note_change(_change(f"of destination {destination_id}", f"{count} undelivered", "retrying"))
        return count

    async def discard_failed(self, destination_id: int) -> int:
        """Discard the failed rows; return their number."""
        async with self._database.transaction():
            count = await self._database.write(
                "DELETE FROM deliveries WHERE destination_id = ? AND state = 'failed'", (destination_id,)
            )
            await self._increment_revision(destination_id)
            self._database.note_change(_change(f"of destination {destination_id}", f"{count} failed", "discarded"))
        return count

    async def _backlogs(self, condition: str, values: tuple[int, ...]) -> dict[int, Backlog]:
        # Apart from the oldest row, which an index finds at once: one query for both counts three times as slowly.
        rows = await self._database.rows(
            f"SELECT destination_id, state, count(*) FROM deliveries WHERE {condition} state IN ('retrying', 'failed')"
            " GROUP BY destination_id, state",
            values,
        )
        counts: dict[int, dict[str, int]] = {}
        for destination_id, state, count in rows:
            counts.setdefault(destination_id, {})[state] = count
        return {
            destination_id: Backlog(**state_counts, oldest_pending_at=await self._oldest_pending_at(destination_id))
            for destination_id, state_counts in counts.items()
        }

    async def _oldest_pending_at(self, destination_id: int) -> int | None:
        rows = await self._database.rows(
            "SELECT min(pending_since) FROM deliveries WHERE destination_id = ? AND state = 'retrying'",
            (destination_id,),
        )
        pending_since: int | None = rows[0][0]
        return pending_since

    async def _reset_retry_after(self, destination_id: int) -> None:
        """Forget the time that the endpoint requested a delay: a person's retry is immediate."""
        await self._database.write(
            "UPDATE destinations SET retry_after = 0 WHERE destination_id = ?", (destination_id,)
        )
        await self._increment_revision(destination_id)

    async def _increment_revision(self, destination_id: int) -> None:
        await self._database.write(
            "UPDATE destinations SET revision = revision + 1 WHERE destination_id = ?", (destination_id,)
        )

    async def _insert(self, destination_id: int, new_deliveries: Sequence[NewDelivery]) -> None:
        """Insert rows. A retrying row of the same notification stays; a failed one becomes retrying again."""
        inserted_rows = await self._database.rows_many(
            "INSERT INTO deliveries (destination_id, state, notification_id, seq, sn, call_id, body, attempts, due_at,"
            " pending_since) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (destination_id, notification_id) WHERE state <> 'delivered' DO UPDATE"
            " SET state = excluded.state, attempts = excluded.attempts, due_at = excluded.due_at"
            " WHERE deliveries.state = 'failed' RETURNING delivery_id",
            [
                (
                    *(destination_id, new_delivery.state, new_delivery.notification_id, new_delivery.seq),
                    *(*new_delivery.call, new_delivery.body, new_delivery.attempt is not None),
                    *(new_delivery.due_at, new_delivery.pending_since),
                )
                for new_delivery in new_deliveries
            ],
        )
        await self._add_attempts(
            [
                (rows[0][0], new_delivery.attempt)
                for rows, new_delivery in zip(inserted_rows, new_deliveries, strict=True)
                if rows and new_delivery.attempt is not None
            ]
        )

    async def _apply_updates(self, updates: Sequence[DeliveryUpdate]) -> None:
        # A success counts whatever a person did meanwhile; a failure only where no person has retried the row.
        await self._database.write_many(
            "UPDATE deliveries SET state = ?1, due_at = ?2, attempts = ?3, busy_count = ?4 WHERE delivery_id = ?5"
            " AND (?1 = 'delivered' OR (state = 'retrying' AND attempts = ?6))",
            [
                (
                    *(update.state, update.due_at, update.attempts, update.throttle_count),
                    *(update.delivery_id, update.attempts_before),
                )
                for update in updates
            ],
        )
        await self._add_attempts(
            [(update.delivery_id, update.attempt) for update in updates if update.attempt is not None]
        )

    async def _add_attempts(self, attempts: Sequence[tuple[int, NewAttempt]]) -> None:
        """Add attempts to the rows with these numbers, as far as they still exist, and delete their oldest ones."""
        await self._database.write_many(
            "INSERT INTO attempts (delivery_id, attempted_at, duration_ms, status, detail, body)"
            " SELECT delivery_id, ?, ?, ?, ?, ? FROM deliveries WHERE delivery_id = ?",
            [
                (attempt.attempted_at, attempt.duration_ms, attempt.status, attempt.detail, attempt.body, delivery_id)
                for delivery_id, attempt in attempts
            ],
        )
        await self._database.write_many(
            "DELETE FROM attempts WHERE delivery_id = ?1 AND attempt_id <="
            " (SELECT attempt_id FROM attempts WHERE delivery_id = ?1 ORDER BY attempt_id DESC LIMIT 1 OFFSET ?2)",
            [(delivery_id, ATTEMPT_ROWS_MAX) for delivery_id, _attempt in attempts],
        )

    async def _schedule_calls(self, destination_id: int, calls: Sequence[CallKey], now_us: int) -> set[CallKey]:
        """Make the first retrying row of each call due and the others wait behind it. Return the calls that have
        one.
        """
        first_rows = await self._database.rows_many(
            f"SELECT min(delivery_id) FROM deliveries WHERE {_WHERE_RETRYING_CALL}",
            [(destination_id, *call) for call in calls],
        )
        first_ids = {call: rows[0][0] for call, rows in zip(calls, first_rows, strict=True) if rows[0][0] is not None}
        await self._database.write_many(
            "UPDATE deliveries SET due_at = ? WHERE delivery_id = ? AND due_at = ?",
            [(now_us, delivery_id, DUE_AFTER_PREDECESSOR) for delivery_id in first_ids.values()],
        )
        await self._database.write_many(
            f"UPDATE deliveries SET due_at = ? WHERE {_WHERE_RETRYING_CALL} AND delivery_id > ? AND due_at < ?",
            [
                (DUE_AFTER_PREDECESSOR, destination_id, *call, delivery_id, DUE_AFTER_PREDECESSOR)
                for call, delivery_id in first_ids.items()
            ],
        )
        return set(first_ids)

    async def _make_retries_due(self, destination_id: int, now_us: int) -> None:
        await self._database.write(
            "UPDATE deliveries SET due_at = ?1 WHERE destination_id = ?2 AND state = 'retrying' AND due_at > ?1"
            " AND due_at < ?3",
            (now_us, destination_id, DUE_AFTER_PREDECESSOR),
        )

    async def _delete_old_delivered(self, destination_id: int) -> None:
        await self._database.write(
            "DELETE FROM deliveries WHERE destination_id = ?1 AND state = 'delivered' AND delivery_id <="
            " (SELECT delivery_id FROM deliveries WHERE destination_id = ?1 AND state = 'delivered'"
            " ORDER BY delivery_id DESC LIMIT 1 OFFSET ?2)",
            (destination_id, DELIVERED_ROWS_MAX),
        )


def _cursor_update(stream_id: int, cursor: int, done_ahead: Sequence[str] | None) -> Statement:
    return (
        "UPDATE streams SET cursor = ?, done_ahead = ? WHERE stream_id = ?",
        (cursor, encode_column(done_ahead) if done_ahead else None, stream_id),
    )


def _health_update(changes: DeliveryCommit) -> Statement:
    """Update the counters always, and the health of the destination only where no person has changed it since."""
    sql = (
        "UPDATE destinations SET attempts_succeeded = attempts_succeeded + ?1,"
        " attempts_failed = attempts_failed + ?2,"
        " failing_since = CASE revision WHEN ?5 THEN ?3 ELSE failing_since END,"
        " retry_after = CASE revision WHEN ?5 THEN ?4 ELSE retry_after END WHERE destination_id = ?6"
    )
    return sql, (
        *(changes.attempts_succeeded, changes.attempts_failed, changes.failing_since, changes.retry_after),
        *(changes.revision, changes.destination_id),
    )


def _delivery(row: tuple[Any, ...]) -> Delivery:
    values = dict(zip(_COLUMNS.split(", "), row, strict=True))
    has_time = values["state"] == "retrying" and values["due_at"] != DUE_AFTER_PREDECESSOR
    values["due_at"] = to_datetime(values["due_at"]) if has_time else None
    values["pending_since"] = to_datetime(values["pending_since"])
    return Delivery(**values)


def _change(name: int | str, before: str, after: str) -> Change:
    return Change(table="deliveries", name=str(name), before={"state": before}, after={"state": after})
