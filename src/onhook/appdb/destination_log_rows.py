"""Rows of the logs of destinations: added with the results of attempts, deleted by number, age and call.

Invariants: the attempts of a commit are rows in the transaction that stores their results. A destination has its newest
`LOG_ROWS_MAX` attempts, and `ROWS_AT_ONCE` more of each process at most; after the hourly job none is older than its
days. Counts have no personal data.
"""

from collections.abc import Mapping, Sequence

import msgspec

from onhook.appdb.contract import Database, Statement
from onhook.appdb.delivery_rows import DeliveryCommit, HttpExchange, NewLoggedAttempt
from onhook.appdb.stored_json import encode_column
from onhook.cdr.identity import CallKey

LOG_ROWS_MAX = 10_000
"""Attempts of one destination: some 20 MB, and a week of a busy office."""

LOG_BODY_BYTES_MAX = 32_768
"""Of one body that is logged: many times a record, and half of the largest request that templates make."""

ROWS_AT_ONCE = 250
"""Rows that are deleted at once: some milliseconds, in which other writers wait. So many are added before the oldest
ones are looked for, which takes as long as some inserts.
"""

COUNT_DAYS = 9
"""For a chart of seven days, in any zone."""

QUARTER_MICROSECONDS = 900 * 1_000_000
"""Of a count: the days of all zones begin with a quarter of an hour."""

DAY_MICROSECONDS = 86_400 * 1_000_000

_INSERT = (
    "INSERT INTO destination_log (destination_id, attempted_at, duration_ms, state, status, detail, notification_id,"
    " seq, sn, call_id, is_test, is_cut, exchange, body, response)"
    " SELECT destination_id, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM destinations WHERE destination_id = ?"
)

_COUNT = (
    "INSERT INTO attempt_counts (destination_id, quarter, accepted, failed) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (destination_id, quarter) DO UPDATE"
    " SET accepted = attempt_counts.accepted + excluded.accepted, failed = attempt_counts.failed + excluded.failed"
)

_DELETE_BEYOND_LIMIT = (
    "DELETE FROM destination_log WHERE destination_id = ?1 AND (attempted_at, attempt_id) <="
    " (SELECT attempted_at, attempt_id FROM destination_log WHERE destination_id = ?1"
    " ORDER BY attempted_at DESC, attempt_id DESC LIMIT 1 OFFSET ?2)"
)


class DestinationLogRows:
    """Adds and deletes rows. Times passed in are microseconds since 1970, UTC. Raises `Unavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._unpruned_counts: dict[int, int] = {}

    async def add_results(self, changes: DeliveryCommit) -> None:
        """Add the attempts of a commit inside its transaction, and count them."""
        destination_id = changes.destination_id
        statements = self._list_additions(destination_id, changes.logged_attempts)
        if changes.attempts_succeeded or changes.attempts_failed:
            quarter = changes.now_us // QUARTER_MICROSECONDS
            counts = (changes.attempts_succeeded, changes.attempts_failed)
            statements.append((_COUNT, (destination_id, quarter, *counts)))
        await self._database.rows_each(statements)

    async def add(self, destination_id: int, attempt: NewLoggedAttempt) -> None:
        """Add an attempt that is no delivery, such as a test."""
        async with self._database.transaction():
            await self._database.rows_each(self._list_additions(destination_id, [attempt]))

    async def delete_expired(self, days: Mapping[int, int], installation_days: int, *, now_us: int) -> int:
        """Delete the rows that are older than the days of their destination, or than those of the installation where
        it has none; return their number. Where there are none nothing is written.
        """
        count = 0
        for (destination_id,) in await self._database.rows("SELECT destination_id FROM destinations"):
            cutoff_us = now_us - days.get(destination_id, installation_days) * DAY_MICROSECONDS
            count += await self._delete_before(destination_id, cutoff_us)
        await self._delete_old_counts(now_us)
        return count

    async def delete_for_calls(self, calls: Sequence[CallKey]) -> int:
        """Delete the rows of calls; return their number. Where there are none nothing is written."""
        present_calls = await self.find_calls(calls)
        return await self._database.write_many(
            "DELETE FROM destination_log WHERE sn = ? AND call_id = ?", sorted(present_calls)
        )

    async def find_calls(self, calls: Sequence[CallKey]) -> set[CallKey]:
        """Return those of these calls that have rows."""
        rows = await self._database.rows_many(
            "SELECT 1 FROM destination_log WHERE sn = ? AND call_id = ? LIMIT 1", list(calls)
        )
        return {call for call, call_rows in zip(calls, rows, strict=True) if call_rows}

    def _list_additions(self, destination_id: int, attempts: Sequence[NewLoggedAttempt]) -> list[Statement]:
        """Return the statements that add rows, and delete what these push out: at the first ones of a process, and then
        after some hundred.
        """
        if not attempts:
            return []
        statements: list[Statement] = [(_INSERT, (*_values(attempt), destination_id)) for attempt in attempts]
        count = self._unpruned_counts.get(destination_id, ROWS_AT_ONCE) + len(attempts)
        if count > ROWS_AT_ONCE:
            statements.append((_DELETE_BEYOND_LIMIT, (destination_id, LOG_ROWS_MAX)))
            count = 0
        self._unpruned_counts[destination_id] = count
        return statements

    async def _delete_before(self, destination_id: int, cutoff_us: int) -> int:
        count = 0
        while True:
            rows = await self._database.rows(
                "SELECT attempt_id FROM destination_log WHERE destination_id = ? AND attempted_at < ? LIMIT ?",
                (destination_id, cutoff_us, ROWS_AT_ONCE),
            )
            if not rows:
                return count
            count += await self._database.write_many("DELETE FROM destination_log WHERE attempt_id = ?", rows)

    async def _delete_old_counts(self, now_us: int) -> None:
        oldest_quarter = (now_us - COUNT_DAYS * DAY_MICROSECONDS) // QUARTER_MICROSECONDS
        if await self._database.rows("SELECT 1 FROM attempt_counts WHERE quarter < ? LIMIT 1", (oldest_quarter,)):
            await self._database.write("DELETE FROM attempt_counts WHERE quarter < ?", (oldest_quarter,))


def _values(logged: NewLoggedAttempt) -> tuple[object, ...]:
    attempt, exchange = logged.attempt, logged.exchange
    is_cut = len(logged.body) > LOG_BODY_BYTES_MAX
    return (
        *(attempt.attempted_at, attempt.duration_ms, logged.state, attempt.status, attempt.detail),
        *(logged.notification_id, logged.seq, *logged.call, int(logged.is_test), int(is_cut)),
        None if exchange is None else encode_column(_cut(exchange)),
        *(logged.body[:LOG_BODY_BYTES_MAX], attempt.body),
    )


def _cut(exchange: HttpExchange) -> HttpExchange:
    """Return the exchange with the beginning of a body that is too long."""
    if exchange.body is None or len(exchange.body) <= LOG_BODY_BYTES_MAX:
        return exchange
    return msgspec.structs.replace(exchange, body=exchange.body[:LOG_BODY_BYTES_MAX], is_body_cut=True)
