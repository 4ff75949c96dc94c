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

    def stretches(self, sn: str) -> list[Interval]:
        """What is known of a PBX's coverage, in order."""
        text = self._text(sn, "stretches")
        return msgspec.json.decode(text, type=list[Interval]) if text else []

    def keep_stretches(self, sn: str, stretches: Sequence[Interval]) -> None:
        """Know this from now on."""
        self._keep(sn, "stretches", msgspec.json.encode(stretches).decode())

    def contact(self, sn: str) -> PbxStatus | None:
        """The last contact, or None."""
        return self._read(sn, "contact", PbxStatus)

    def keep_contact(self, sn: str, contact: PbxStatus) -> None:
        """Know this from now on."""
        self._keep(sn, "contact", msgspec.json.encode(contact).decode())

    def progress(self, sn: str) -> BackfillProgress | None:
        """The back-fill that was begun and not ended, or None."""
        return self._read(sn, "progress", BackfillProgress)

    def keep_progress(self, sn: str, progress: BackfillProgress | None) -> None:
        """Know this from now on; None when it has ended."""
        self._keep(sn, "progress", "" if progress is None else msgspec.json.encode(progress).decode())

    def wish(self, sn: str) -> BackfillRequest | None:
        """The back-fill that a person asked for and that is not done, or None."""
        return self._read(sn, "wish", BackfillRequest)

    def keep_wish(self, sn: str, wish: BackfillRequest | None) -> None:
        """Ask for this, in place of what was asked for before."""
        self._keep(sn, "wish", "" if wish is None else msgspec.json.encode(wish).decode())

    def outcome(self, sn: str) -> BackfillResult | None:
        """How the last back-fill ended that was asked for, or None."""
        return self._read(sn, "outcome", BackfillResult)

    def keep_outcome(self, sn: str, outcome: BackfillResult) -> None:
        """Know this from now on."""
        self._keep(sn, "outcome", msgspec.json.encode(outcome).decode())

    def silence_minutes(self, sn: str) -> int | None:
        """After how long a silence people want an alarm; 0 is never, None is what the PBX's own traffic says."""
        rows = self._database.rows("SELECT silence_minutes FROM receiving WHERE sn = ?", (sn,))
        return None if not rows or rows[0][0] is None else int(rows[0][0])

    def keep_silence_minutes(self, sn: str, minutes: int | None) -> None:
        """Want this from now on."""
        self._keep(sn, "silence_minutes", minutes)

    def _read(self, sn: str, column: str, kind: type[T]) -> T | None:
        text = self._text(sn, column)
        return msgspec.json.decode(text, type=kind) if text else None

    def _text(self, sn: str, column: str) -> str:
        rows = self._database.rows(f"SELECT {column} FROM receiving WHERE sn = ?", (sn,))
        return str(rows[0][0]) if rows else ""

    def _keep(self, sn: str, column: str, value: str | int | None) -> None:
        # From a selection, so that nothing is kept of a PBX that was removed meanwhile.
        self._database.write(
            f"INSERT INTO receiving (sn, {column}) SELECT sn, ?2 FROM pbxs WHERE sn = ?1"
            f" ON CONFLICT DO UPDATE SET {column} = excluded.{column}",
            (sn, value),
        )
