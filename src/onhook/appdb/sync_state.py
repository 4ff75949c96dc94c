"""How receiving from each PBX fares: what is surely complete, when it was last asked, how far a back-fill has come."""

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from onhook.appdb.sqlite import SqliteDatabase
from onhook.cdr.coverage import Interval
from onhook.cdr.sync_types import BackfillProgress, BackfillRequest, BackfillResult, PbxStatus

T = TypeVar("T", bound=msgspec.Struct)


class SyncStates:
    """What is kept of it, by serial number; nothing of a PBX that is not declared."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def intervals(self, sn: str) -> list[Interval]:
        """What is known of a PBX's coverage, in order."""
        text = self._get_text(sn, "intervals")
        return msgspec.json.decode(text, type=list[Interval]) if text else []

    def save_intervals(self, sn: str, intervals: Sequence[Interval]) -> None:
        """Know this from now on."""
        self._save(sn, "intervals", msgspec.json.encode(intervals).decode())

    def pbx_status(self, sn: str) -> PbxStatus | None:
        """The last contact, or None."""
        return self._decode(sn, "pbx_status", PbxStatus)

    def save_pbx_status(self, sn: str, pbx_status: PbxStatus) -> None:
        """Know this from now on."""
        self._save(sn, "pbx_status", msgspec.json.encode(pbx_status).decode())

    def backfill_progress(self, sn: str) -> BackfillProgress | None:
        """The back-fill that was begun and not ended, or None."""
        return self._decode(sn, "progress", BackfillProgress)

    def save_backfill_progress(self, sn: str, progress: BackfillProgress | None) -> None:
        """Know this from now on; None when it has ended."""
        self._save(sn, "progress", "" if progress is None else msgspec.json.encode(progress).decode())

    def backfill_request(self, sn: str) -> BackfillRequest | None:
        """The back-fill that a person asked for and that is not done, or None."""
        return self._decode(sn, "request", BackfillRequest)

    def save_backfill_request(self, sn: str, request: BackfillRequest | None) -> None:
        """Ask for this, in place of what was asked for before."""
        self._save(sn, "request", "" if request is None else msgspec.json.encode(request).decode())

    def backfill_result(self, sn: str) -> BackfillResult | None:
        """How the last back-fill ended that was asked for, or None."""
        return self._decode(sn, "result", BackfillResult)

    def save_backfill_result(self, sn: str, result: BackfillResult) -> None:
        """Know this from now on."""
        self._save(sn, "result", msgspec.json.encode(result).decode())

    def silence_minutes(self, sn: str) -> int | None:
        """After how long a silence people want an alarm; 0 is never, None is what the PBX's own traffic says."""
        rows = self._database.rows("SELECT silence_minutes FROM sync_state WHERE sn = ?", (sn,))
        return None if not rows or rows[0][0] is None else int(rows[0][0])

    def save_silence_minutes(self, sn: str, minutes: int | None) -> None:
        """Want this from now on."""
        self._save(sn, "silence_minutes", minutes)

    def _decode(self, sn: str, column: str, struct_type: type[T]) -> T | None:
        text = self._get_text(sn, column)
        return msgspec.json.decode(text, type=struct_type) if text else None

    def _get_text(self, sn: str, column: str) -> str:
        rows = self._database.rows(f"SELECT {column} FROM sync_state WHERE sn = ?", (sn,))
        return str(rows[0][0]) if rows else ""

    def _save(self, sn: str, column: str, value: str | int | None) -> None:
        # From a selection, so that nothing is kept of a PBX that was removed meanwhile.
        self._database.write(
            f"INSERT INTO sync_state (sn, {column}) SELECT sn, ?2 FROM pbxs WHERE sn = ?1"
            f" ON CONFLICT DO UPDATE SET {column} = excluded.{column}",
            (sn, value),
        )
