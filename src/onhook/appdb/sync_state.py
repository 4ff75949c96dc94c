"""Synchronisation state of each PBX: coverage, last contact, progress of a back-fill."""

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from onhook.appdb.sqlite import SqliteDatabase
from onhook.cdr.coverage import Interval
from onhook.cdr.sync_types import BackfillProgress, BackfillRequest, BackfillResult, PbxStatus

T = TypeVar("T", bound=msgspec.Struct)


class SyncStates:
    """Repository of synchronisation state, by serial number, for registered PBXs only."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def intervals(self, sn: str) -> list[Interval]:
        """Return the coverage intervals of a PBX, in order."""
        text = self._get_text(sn, "intervals")
        return msgspec.json.decode(text, type=list[Interval]) if text else []

    def save_intervals(self, sn: str, intervals: Sequence[Interval]) -> None:
        """Store the coverage intervals."""
        self._save(sn, "intervals", msgspec.json.encode(intervals).decode())

    def pbx_status(self, sn: str) -> PbxStatus | None:
        """Return the last contact, or None."""
        return self._decode(sn, "pbx_status", PbxStatus)

    def save_pbx_status(self, sn: str, pbx_status: PbxStatus) -> None:
        """Store the last contact."""
        self._save(sn, "pbx_status", msgspec.json.encode(pbx_status).decode())

    def backfill_progress(self, sn: str) -> BackfillProgress | None:
        """Return the unfinished back-fill, or None."""
        return self._decode(sn, "progress", BackfillProgress)

    def save_backfill_progress(self, sn: str, progress: BackfillProgress | None) -> None:
        """Store the progress of a back-fill; None when it has ended."""
        self._save(sn, "progress", "" if progress is None else msgspec.json.encode(progress).decode())

    def backfill_request(self, sn: str) -> BackfillRequest | None:
        """Return the back-fill that a person requested and that is not done, or None."""
        return self._decode(sn, "request", BackfillRequest)

    def save_backfill_request(self, sn: str, request: BackfillRequest | None) -> None:
        """Store a request for a back-fill; it replaces an earlier one."""
        self._save(sn, "request", "" if request is None else msgspec.json.encode(request).decode())

    def backfill_result(self, sn: str) -> BackfillResult | None:
        """Return the result of the last requested back-fill, or None."""
        return self._decode(sn, "result", BackfillResult)

    def save_backfill_result(self, sn: str, result: BackfillResult) -> None:
        """Store the result of a requested back-fill."""
        self._save(sn, "result", msgspec.json.encode(result).decode())

    def silence_minutes(self, sn: str) -> int | None:
        """Return the minutes of silence before an alarm; 0 is never, None uses the PBX's own traffic."""
        rows = self._database.rows("SELECT silence_minutes FROM sync_state WHERE sn = ?", (sn,))
        return None if not rows or rows[0][0] is None else int(rows[0][0])

    def save_silence_minutes(self, sn: str, minutes: int | None) -> None:
        """Store the minutes of silence before an alarm."""
        self._save(sn, "silence_minutes", minutes)

    def _decode(self, sn: str, column: str, struct_type: type[T]) -> T | None:
        text = self._get_text(sn, column)
        return msgspec.json.decode(text, type=struct_type) if text else None

    def _get_text(self, sn: str, column: str) -> str:
        rows = self._database.rows(f"SELECT {column} FROM sync_state WHERE sn = ?", (sn,))
        return str(rows[0][0]) if rows else ""

    def _save(self, sn: str, column: str, value: str | int | None) -> None:
        # INSERT from a SELECT: nothing is stored of a PBX removed meanwhile.
        self._database.write(
            f"INSERT INTO sync_state (sn, {column}) SELECT sn, ?2 FROM pbxs WHERE sn = ?1"
            f" ON CONFLICT DO UPDATE SET {column} = excluded.{column}",
            (sn, value),
        )
