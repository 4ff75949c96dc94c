"""Synchronisation state of each PBX: coverage, last contact, progress of a back-fill."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from onhook.appdb.contract import Database, Row, transactional
from onhook.appdb.stored_json import UnreadableRow, decode_column, encode_column, list_unreadable
from onhook.cdr.coverage import Interval
from onhook.cdr.sync_types import BackfillProgress, BackfillRequest, BackfillResult, PbxStatus, PushChannelStatus
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

T = TypeVar("T", bound=msgspec.Struct)

SILENCE_MINUTES_MAX = 7 * 24 * 60
"""A week: the clock of a PBX that was silent for longer cannot be checked."""

NEVER, AUTO = "never", "auto"

_COLUMN_TYPES = {
    "intervals": list[Interval],
    "pbx_status": PbxStatus,
    "progress": BackfillProgress,
    "request": BackfillRequest,
    "result": BackfillResult,
    "push_channel": PushChannelStatus,
}


def parse_silence_minutes(text: str, *, location: str) -> int | None:
    """Return the minutes of silence before an alarm: 0 is never, None uses the PBX's own traffic. Raises `UsageError`.

    >>> parse_silence_minutes("30", location=""), parse_silence_minutes("never", location="")
    (30, 0)
    """
    special_values = {NEVER: 0, AUTO: None}
    if text in special_values:
        return special_values[text]
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= SILENCE_MINUTES_MAX):
        raise UsageError(
            _("{text} is not a number of minutes", text=repr(text[:20])),
            location=location,
            hint=_("write 1 to {maximum} minutes, never or auto", maximum=SILENCE_MINUTES_MAX),
        )
    return int(text)


def format_silence_minutes(minutes: int | None) -> str:
    """Return the text of minutes of silence.

    >>> format_silence_minutes(None), format_silence_minutes(0), format_silence_minutes(30)
    ('auto', 'never', '30')
    """
    return AUTO if minutes is None else str(minutes) if minutes else NEVER


class SyncStates:
    """Repository of synchronisation state, by serial number, for registered PBXs only."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def intervals(self, sn: str) -> list[Interval]:
        """Return the coverage intervals of a PBX, in order."""
        text = await self._get_text(sn, "intervals")
        return decode_column(text, list[Interval]) if text else []

    async def save_intervals(self, sn: str, intervals: Sequence[Interval]) -> None:
        """Store the coverage intervals."""
        await self._save(sn, "intervals", encode_column(list(intervals)))

    @transactional
    async def change_intervals(self, sn: str, change: Callable[[list[Interval]], Sequence[Interval]]) -> None:
        """Store what `change` makes of the current intervals; nothing changes them in between."""
        await self.save_intervals(sn, change(await self.intervals(sn)))

    async def pbx_status(self, sn: str) -> PbxStatus | None:
        """Return the last contact, or None."""
        return await self._decode(sn, "pbx_status", PbxStatus)

    async def save_pbx_status(self, sn: str, pbx_status: PbxStatus) -> None:
        """Store the last contact."""
        await self._save(sn, "pbx_status", encode_column(pbx_status))

    async def backfill_progress(self, sn: str) -> BackfillProgress | None:
        """Return the unfinished back-fill, or None."""
        return await self._decode(sn, "progress", BackfillProgress)

    async def save_backfill_progress(self, sn: str, progress: BackfillProgress | None) -> None:
        """Store the progress of a back-fill; None when it has ended."""
        await self._save(sn, "progress", "" if progress is None else encode_column(progress))

    async def backfill_request(self, sn: str) -> BackfillRequest | None:
        """Return the back-fill that a person requested and that is not done, or None."""
        return await self._decode(sn, "request", BackfillRequest)

    async def save_backfill_request(self, sn: str, request: BackfillRequest | None) -> None:
        """Store a request for a back-fill; it replaces an earlier one."""
        await self._save(sn, "request", "" if request is None else encode_column(request))

    async def backfill_result(self, sn: str) -> BackfillResult | None:
        """Return the result of the last requested back-fill, or None."""
        return await self._decode(sn, "result", BackfillResult)

    async def save_backfill_result(self, sn: str, result: BackfillResult) -> None:
        """Store the result of a requested back-fill."""
        await self._save(sn, "result", encode_column(result))

    @transactional
    async def finish_backfill_request(self, sn: str, result: BackfillResult) -> None:
        """Store the result of a requested back-fill, and delete the request, unless there is another one by now."""
        await self.save_backfill_result(sn, result)
        request = await self.backfill_request(sn)
        if request is not None and request.requested_at == result.requested_at:
            await self.save_backfill_request(sn, None)

    async def push_channel(self, sn: str) -> PushChannelStatus | None:
        """Return the state of the push channel as it was stored last, or None; without a server there is no channel."""
        return await self._decode(sn, "push_channel", PushChannelStatus)

    async def save_push_channel(self, sn: str, status: PushChannelStatus) -> None:
        """Store the state of the push channel."""
        await self._save(sn, "push_channel", encode_column(status))

    async def silence_minutes(self, sn: str) -> int | None:
        """Return the minutes of silence before an alarm; 0 is never, None uses the PBX's own traffic."""
        rows = await self._database.rows("SELECT silence_minutes FROM sync_state WHERE sn = ?", (sn,))
        return None if not rows or rows[0][0] is None else int(rows[0][0])

    async def save_silence_minutes(self, sn: str, minutes: int | None) -> None:
        """Store the minutes of silence before an alarm."""
        await self._save(sn, "silence_minutes", minutes)

    async def list_unreadable(self) -> list[UnreadableRow]:
        """Return the rows with a column that cannot be read."""
        rows = await self._database.rows(f"SELECT sn, {', '.join(_COLUMN_TYPES)} FROM sync_state ORDER BY sn")
        return list_unreadable("sync_state", rows, _read_columns)

    async def _decode(self, sn: str, column: str, struct_type: type[T]) -> T | None:
        text = await self._get_text(sn, column)
        return decode_column(text, struct_type) if text else None

    async def _get_text(self, sn: str, column: str) -> str:
        rows = await self._database.rows(f"SELECT {column} FROM sync_state WHERE sn = ?", (sn,))
        return str(rows[0][0]) if rows else ""

    async def _save(self, sn: str, column: str, value: str | int | None) -> None:
        # INSERT from a SELECT: nothing is stored of a PBX removed meanwhile.
        await self._database.write(
            f"INSERT INTO sync_state (sn, {column}) SELECT sn, ?2 FROM pbxs WHERE sn = ?1"
            f" ON CONFLICT (sn) DO UPDATE SET {column} = excluded.{column}",
            (sn, value),
        )


def _read_columns(row: Row) -> None:
    for text, value_type in zip(row[1:], _COLUMN_TYPES.values(), strict=True):
        if text:
            decode_column(text, value_type)
