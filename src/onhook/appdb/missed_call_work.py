"""Work on missed calls: claimed by a user, done, and when to be reminded of them.

Whether a call was returned is not stored here: the calls themselves show it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from onhook.appdb.contract import Database, Row, transactional
from onhook.appdb.stored_json import CHECKED_ROWS_MAX, UnreadableRow, list_unreadable, read_rows
from onhook.cdr.identity import CallKey
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.lib.timestamps import to_datetime

_COLUMNS = "sn, call_id, claimed_by, claimed_at, done_by, done_at, remind_at"

_SELECT_LATEST = (
    f"SELECT {_COLUMNS} FROM missed_call_work ORDER BY CASE WHEN coalesce(claimed_at, 0) > coalesce(done_at, 0)"
    " THEN claimed_at ELSE coalesce(done_at, 0) END DESC, sn, call_id LIMIT ?"
)


class MissedCallWork(msgspec.Struct, frozen=True, kw_only=True):
    """The work on a missed call; names are empty and times None where there is none."""

    claimed_by: str = ""
    claimed_at: datetime | None = None
    done_by: str = ""
    done_at: datetime | None = None
    remind_at: datetime | None = None


NO_WORK = MissedCallWork()


class MissedCallWorkRepository:
    """Work by call. Times passed in are microseconds since 1970, UTC."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, keys: Sequence[CallKey]) -> Mapping[CallKey, MissedCallWork]:
        """Return the work on these calls; calls without any are left out."""
        rows = await self._database.rows_many(
            f"SELECT {_COLUMNS} FROM missed_call_work WHERE sn = ? AND call_id = ?", list(keys)
        )
        return dict(read_rows((row for matches in rows for row in matches), _work))

    async def due_reminders(
        self, user: str, limit: int, *, since_us: int, now_us: int
    ) -> list[tuple[CallKey, datetime]]:
        """Return the calls that a user has claimed and is not done with, and whose reminder is due since a time or
        later: the latest first.
        """
        rows = await self._database.rows(
            f"SELECT {_COLUMNS} FROM missed_call_work WHERE claimed_by = ? AND remind_at >= ? AND remind_at <= ?"
            " AND done_at IS NULL ORDER BY remind_at DESC, sn, call_id LIMIT ?",
            (user, since_us, now_us, limit),
        )
        return [(key, work.remind_at) for key, work in read_rows(rows, _work) if work.remind_at is not None]

    async def claimed_by(self, user: str, limit: int) -> list[CallKey]:
        """Return the calls that a user has claimed and is not done with, those claimed last first."""
        rows = await self._database.rows(
            "SELECT sn, call_id FROM missed_call_work WHERE claimed_by = ? AND done_at IS NULL"
            " ORDER BY claimed_at DESC, sn, call_id LIMIT ?",
            (user, limit),
        )
        return [(sn, call_id) for sn, call_id in rows]

    async def next_reminder(self, user: str, *, now_us: int) -> datetime | None:
        """Return when the next reminder of a user is due; None without any."""
        rows = await self._database.rows(
            "SELECT min(remind_at) FROM missed_call_work WHERE claimed_by = ? AND remind_at > ? AND done_at IS NULL",
            (user, now_us),
        )
        return None if rows[0][0] is None else to_datetime(rows[0][0])

    async def latest(self, limit: int) -> list[tuple[CallKey, MissedCallWork]]:
        """Return the calls that were worked on last."""
        return read_rows(await self._database.rows(_SELECT_LATEST, (limit,)), _work)

    async def list_unreadable(self) -> list[UnreadableRow]:
        """Return those of the latest rows that cannot be read, by PBX and call."""
        rows = await self._database.rows(_SELECT_LATEST, (CHECKED_ROWS_MAX,))
        return list_unreadable("missed_call_work", rows, _work, name_columns=[0, 1])

    @transactional
    async def claim(self, keys: Sequence[CallKey], user: str, *, now_us: int) -> None:
        """Claim calls for a user, all or none. Raises `UsageError` where another one has claimed a call."""
        await self._check_claims(keys, user)
        await self._put(keys, claimed_by=user, claimed_at=now_us, done_by="", done_at=None)

    async def release(self, keys: Sequence[CallKey]) -> None:
        """Release calls, and forget their reminders."""
        await self._put(keys, claimed_by="", claimed_at=None, remind_at=None)

    async def finish(self, keys: Sequence[CallKey], user: str, *, now_us: int) -> None:
        """Mark calls as done by a user."""
        await self._put(keys, done_by=user, done_at=now_us, remind_at=None)

    async def reopen(self, keys: Sequence[CallKey]) -> None:
        """Mark calls as not done."""
        await self._put(keys, done_by="", done_at=None)

    @transactional
    async def remind(self, keys: Sequence[CallKey], user: str, *, remind_at_us: int, now_us: int) -> None:
        """Claim calls for a user, with a reminder. Raises `UsageError` as `claim`."""
        await self._check_claims(keys, user)
        await self._put(keys, claimed_by=user, claimed_at=now_us, done_by="", done_at=None, remind_at=remind_at_us)

    async def delete_for_calls(self, calls: Sequence[CallKey]) -> None:
        """Delete the work on deleted calls."""
        await self._database.write_many("DELETE FROM missed_call_work WHERE sn = ? AND call_id = ?", list(calls))

    async def _check_claims(self, keys: Sequence[CallKey], user: str) -> None:
        for work in (await self.find(keys)).values():
            if work.claimed_by not in ("", user) and work.done_at is None:
                raise UsageError(
                    _("{user} has claimed this call", user=work.claimed_by),
                    hint=_("ask, or release the call first"),
                )

    async def _put(self, keys: Sequence[CallKey], **columns: str | int | None) -> None:
        """Set columns of calls; one row each, so that the audit log counts calls."""
        names = ", ".join(columns)
        assignments = ", ".join(f"{name} = excluded.{name}" for name in columns)
        await self._database.write_many(
            f"INSERT INTO missed_call_work (sn, call_id, {names}) VALUES ({', '.join('?' * (len(columns) + 2))})"
            f" ON CONFLICT (sn, call_id) DO UPDATE SET {assignments}",
            [(*key, *columns.values()) for key in keys],
        )


def _work(row: Row) -> tuple[CallKey, MissedCallWork]:
    sn, call_id, claimed_by, claimed_at, done_by, done_at, remind_at = row
    claimed, done, remind = (None if time is None else to_datetime(time) for time in (claimed_at, done_at, remind_at))
    return (sn, call_id), MissedCallWork(
        claimed_by=claimed_by, claimed_at=claimed, done_by=done_by, done_at=done, remind_at=remind
    )
