"""The logs of destinations, for people and programs: every attempt with its result, and what was sent.

Times passed in are microseconds since 1970, UTC. Pages are in the order of time, the latest first.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

import msgspec

from onhook.appdb.audited_tables import Change
from onhook.appdb.contract import Database, Row, transactional
from onhook.appdb.deliveries import Deliveries
from onhook.appdb.delivery_rows import AttemptState, HttpExchange, NewDelivery, NewLoggedAttempt
from onhook.appdb.destination_log_rows import QUARTER_MICROSECONDS, DestinationLogRows
from onhook.appdb.stored_json import (
    CHECKED_ROWS_MAX,
    UnreadableRow,
    decode_column,
    list_unreadable,
    read_row,
    read_rows,
)
from onhook.cdr.identity import CallKey
from onhook.lib.errors import NotFound, UsageError
from onhook.lib.messages import _
from onhook.lib.timestamps import to_datetime, to_microseconds

LogState = Literal["accepted", "failed", "rejected", "unreachable", "throttled", "gone"]
"""States by which a log is filtered: those of attempts, and `failed` for all but `accepted`."""

CALL_ATTEMPTS_MAX = 200
"""Attempts of one call that are listed, of all destinations."""

_COLUMNS = (
    "attempt_id, destination_id, attempted_at, duration_ms, state, status, detail, notification_id, seq, sn, call_id,"
    " is_test"
)


class LoggedAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt of a destination. `status` is None without an HTTP response; a test has no call, and what is no call,
    such as an alarm, has the number 0 (`seq`).
    """

    attempt_id: int
    destination_id: int
    attempted_at: datetime
    duration_ms: int
    state: AttemptState
    status: int | None
    detail: str
    notification_id: str
    seq: int
    sn: str
    call_id: str
    is_test: bool


class AttemptContent(msgspec.Struct, frozen=True, kw_only=True):
    """What was sent and answered: the `notification`, which is cut off where it was too long (`is_cut`), the HTTP
    exchange (None of other kinds), and the beginning of the response.
    """

    notification: str
    is_cut: bool
    exchange: HttpExchange | None
    response: str


class LogFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Conditions on the attempts of a log; None and empty are no condition."""

    state: LogState | None = None
    since: datetime | None = None
    until: datetime | None = None
    sn: str = ""
    call_id: str = ""


class LogPage(msgspec.Struct, frozen=True):
    """Attempts, and the cursor of the next page; None on the last one."""

    data: list[LoggedAttempt]
    next: str | None


class AttemptCount(msgspec.Struct, frozen=True, kw_only=True):
    """Attempts of a quarter of an hour."""

    started_at: datetime
    accepted: int
    failed: int


class DestinationLog:
    """Repository of the logs. Raises `Unavailable`."""

    def __init__(self, database: Database, deliveries: Deliveries) -> None:
        self._database = database
        self._deliveries = deliveries
        self._rows = DestinationLogRows(database)

    async def page(self, destination_id: int, log_filter: LogFilter, limit: int, cursor: str = "") -> LogPage:
        """Return a page of one destination's log. Raises `UsageError` for an invalid cursor."""
        conditions, values = _conditions(log_filter)
        if cursor:
            conditions.append("(attempted_at, attempt_id) < (?, ?)")
            values += _parse_cursor(cursor)
        rows = await self._database.rows(
            f"SELECT {_COLUMNS} FROM destination_log WHERE {' AND '.join(['destination_id = ?', *conditions])}"
            " ORDER BY attempted_at DESC, attempt_id DESC LIMIT ?",
            (destination_id, *values, limit + 1),
        )
        page_rows = rows[:limit]
        return LogPage(read_rows(page_rows, _attempt), _cursor(page_rows[-1]) if len(rows) > limit else None)

    async def list_for_call(self, call: CallKey) -> list[LoggedAttempt]:
        """Return the attempts of a call, of all destinations, the latest first."""
        rows = await self._database.rows(
            f"SELECT {_COLUMNS} FROM destination_log WHERE sn = ? AND call_id = ?"
            " ORDER BY attempted_at DESC, attempt_id DESC LIMIT ?",
            (*call, CALL_ATTEMPTS_MAX),
        )
        return read_rows(rows, _attempt)

    async def get(self, destination_id: int, attempt_id: int) -> LoggedAttempt:
        """Return an attempt of a destination. Raises `NotFound`."""
        return read_row(await self._get_row(destination_id, attempt_id, _COLUMNS), _attempt)

    async def content(self, destination_id: int, attempt_id: int) -> AttemptContent:
        """Return what was sent in an attempt, and its response. Raises `NotFound`, `RowUnreadable`."""
        row = await self._get_row(destination_id, attempt_id, "body, is_cut, exchange, response")
        return read_row(row, _content)

    async def counts(self, destination_id: int, since_us: int) -> list[AttemptCount]:
        """Return the attempts by quarters of an hour that begin at a time or later; quarters without any are left
        out.
        """
        rows = await self._database.rows(
            "SELECT quarter, accepted, failed FROM attempt_counts WHERE destination_id = ? AND quarter >= ?"
            " ORDER BY quarter",
            (destination_id, -(-since_us // QUARTER_MICROSECONDS)),
        )
        return [
            AttemptCount(started_at=to_datetime(quarter * QUARTER_MICROSECONDS), accepted=accepted, failed=failed)
            for quarter, accepted, failed in rows
        ]

    @transactional
    async def resend(self, destination_id: int, attempt_id: int, *, now_us: int) -> int:
        """Send the notification of an attempt again, as it was, with all attempts of the retry policy; return the
        number of its delivery. Raises `NotFound`, and `UsageError` for a test, and where not all of it was logged.
        """
        attempt = await self.get(destination_id, attempt_id)
        row = await self._get_row(destination_id, attempt_id, "body, is_cut")
        if attempt.is_test:
            raise UsageError(_("a test is not sent again"), hint=_("send another test"))
        if row[1]:
            raise UsageError(
                _("the notification of this attempt is too long for the log"), hint=_("replay its calls instead")
            )
        delivery_id = await self._find_undelivered(destination_id, attempt.notification_id)
        if delivery_id is not None:
            await self._deliveries.retry(delivery_id, now_us=now_us)
            return delivery_id
        await self._deliveries.add(
            destination_id,
            NewDelivery(
                notification_id=attempt.notification_id,
                seq=attempt.seq,
                call=(attempt.sn, attempt.call_id),
                body=row[0],
                due_at=now_us,
                pending_since=now_us,
            ),
        )
        new_id = await self._find_undelivered(destination_id, attempt.notification_id)
        assert new_id is not None, "it was added in this transaction"
        change = Change(table="deliveries", name=str(new_id), before=None, after={"state": "retrying"})
        self._database.note_change(change)
        return new_id

    # Rows

    async def add(self, destination_id: int, attempt: NewLoggedAttempt) -> None:
        """Add an attempt that is no delivery, such as a test."""
        await self._rows.add(destination_id, attempt)

    async def delete_expired(self, days: Mapping[int, int], installation_days: int, *, now_us: int) -> int:
        """Delete what is older than the days of its destination; return how many attempts."""
        return await self._rows.delete_expired(days, installation_days, now_us=now_us)

    async def delete_for_calls(self, calls: Sequence[CallKey]) -> int:
        """Delete the attempts of deleted calls; return how many."""
        return await self._rows.delete_for_calls(calls)

    async def list_unreadable(self) -> list[UnreadableRow]:
        """Return those of the latest attempts that cannot be read."""
        rows = await self._database.rows(
            f"SELECT {_COLUMNS}, exchange FROM destination_log ORDER BY attempt_id DESC LIMIT ?", (CHECKED_ROWS_MAX,)
        )
        return list_unreadable("destination_log", rows, _check_row)

    async def _get_row(self, destination_id: int, attempt_id: int, columns: str) -> Row:
        rows = await self._database.rows(
            f"SELECT {columns} FROM destination_log WHERE attempt_id = ? AND destination_id = ?",
            (attempt_id, destination_id),
        )
        if not rows:
            raise NotFound(
                _("there is no attempt {attempt_id} in this log", attempt_id=attempt_id),
                hint=_("it may have expired; `onhook destination log` lists what there is"),
            )
        return rows[0]

    async def _find_undelivered(self, destination_id: int, notification_id: str) -> int | None:
        rows = await self._database.rows(
            "SELECT delivery_id FROM deliveries WHERE destination_id = ? AND notification_id = ?"
            " AND state <> 'delivered'",
            (destination_id, notification_id),
        )
        return int(rows[0][0]) if rows else None


def _conditions(log_filter: LogFilter) -> tuple[list[str], list[object]]:
    """Return the conditions of a filter, in SQL, and their values."""
    conditions: list[str] = []
    values: list[object] = []
    if log_filter.state == "failed":
        conditions.append("state <> 'accepted'")
    elif log_filter.state is not None:
        conditions.append("state = ?")
        values.append(log_filter.state)
    for time, operator in ((log_filter.since, ">="), (log_filter.until, "<")):
        if time is not None:
            conditions.append(f"attempted_at {operator} ?")
            values.append(to_microseconds(time))
    for name in ("sn", "call_id"):
        if text := getattr(log_filter, name):
            conditions.append(f"{name} = ?")
            values.append(text)
    return conditions, values


def _cursor(row: Row) -> str:
    attempt_id, _destination_id, attempted_at = row[:3]
    return f"{attempted_at}-{attempt_id}"


def _parse_cursor(text: str) -> tuple[int, int]:
    time, _separator, number = text.partition("-")
    if not all(part.isascii() and part.isdigit() and len(part) <= 18 for part in (time, number)):
        raise UsageError(_("invalid cursor"), location="cursor", hint=_("leave it out to begin with the first page"))
    return int(time), int(number)


def _attempt(row: Row) -> LoggedAttempt:
    values = dict(zip(_COLUMNS.split(", "), row, strict=True))
    values["attempted_at"] = to_datetime(values["attempted_at"])
    return msgspec.convert(values | {"is_test": bool(values["is_test"])}, LoggedAttempt)


def _content(row: Row) -> AttemptContent:
    body, is_cut, exchange, response = row
    return AttemptContent(
        notification=body.decode(errors="replace"),
        is_cut=bool(is_cut),
        exchange=None if exchange is None else decode_column(exchange, HttpExchange),
        response=response.decode(errors="replace"),
    )


def _check_row(row: Row) -> None:
    *columns, exchange = row
    _attempt(tuple(columns))
    if exchange is not None:
        decode_column(exchange, HttpExchange)
