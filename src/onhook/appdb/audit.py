"""Audit log: one entry for each transaction that changes something, which the engine adds, for each sign-in, and for
reads that matter: exports, recordings, raw events, lists of a PBX.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from onhook.appdb.audited_tables import delete_oldest_entries
from onhook.appdb.contract import Database, Row
from onhook.appdb.origin import Origin, get_origin
from onhook.appdb.stored_json import CHECKED_ROWS_MAX, UnreadableRow, list_unreadable, read_rows
from onhook.lib.timestamps import to_datetime

TEXT_CHARACTERS_MAX = 300
"""Of an action."""

FAILED_SIGN_INS_MAX = 100
"""Of an hour, of all together; further ones are in the log alone. Every client can fail to sign in by the thousand, and
must not push out the entries of weeks.
"""

FAILED_NOTE = "; further failed ones of this hour are in the log of the hub alone"

SIGN_IN = "sign in"
"""The action of each sign-in, also of a failed one."""

REPEATED_MICROSECONDS = 3_600 * 1_000_000
REPEATED_ENTRIES_MAX = 1_000
"""How far back a read counts as repeated."""

_STATUS_FAILED = 400

_COLUMNS = "audit_id, created_at, actor, credential, address, way, action, before, after, status"


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Who did what, with which credential, from where, and by which way (`page`, `api`, `cli`, `pbx-api`, `onhook`).
    `before` and `after` are the changed rows by table, with secrets masked; `status` is that of the response.
    """

    audit_id: int
    created_at: datetime
    actor: str
    credential: str
    address: str
    way: str
    action: str
    before: dict[str, Any]
    after: dict[str, Any]
    status: int


class Audit:
    """Repository of the audit log."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, *, now_us: int, actor: str, credential: str, address: str, action: str, status: int) -> None:
        """Add an entry that is no change of the database; `now_us` in microseconds since 1970. The status is that of
        HTTP, or the code of a response of the PBX API.
        """
        await self._insert(
            "INSERT INTO audit (created_at, actor, credential, address, way, action, status)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (now_us, actor, credential, address, get_origin().way, action[:TEXT_CHARACTERS_MAX], status),
        )

    async def add_sign_in(self, *, now_us: int, actor: str, credential: str, address: str, status: int) -> None:
        """Add a sign-in; `now_us` in microseconds since 1970, `status` that of HTTP. Failed ones beyond
        `FAILED_SIGN_INS_MAX` of an hour are not added.
        """
        action = SIGN_IN
        if status >= _STATUS_FAILED:
            failed_count = await self._count_failed_sign_ins(now_us)
            if failed_count >= FAILED_SIGN_INS_MAX:
                return
            action += FAILED_NOTE if failed_count == FAILED_SIGN_INS_MAX - 1 else ""
        await self.add(now_us=now_us, actor=actor, credential=credential, address=address, action=action, status=status)

    async def add_action(self, action: str, *, now_us: int) -> None:
        """Add an entry for something that the user of this request or command has done, and that changes no table of
        `audited_tables`; `now_us` in microseconds since 1970.
        """
        origin = get_origin()
        await self.add(
            now_us=now_us,
            actor=origin.actor,
            credential=origin.credential,
            address=origin.address,
            action=action,
            status=200,
        )

    async def add_read(self, action: str, *, now_us: int, origin: Origin | None = None) -> None:
        """Add an entry for reading something that matters, or doing it again and again; by the same user within an hour
        it is one entry, because a player reads a recording in parts, and a program repeats its reads.
        """
        origin, text = origin or get_origin(), action[:TEXT_CHARACTERS_MAX]
        await self._insert(
            "INSERT INTO audit (created_at, actor, credential, address, way, action, status)"
            " SELECT ?1, ?2, ?3, ?4, ?5, ?6, 200 WHERE NOT EXISTS (SELECT 1 FROM audit"
            " WHERE audit_id > (SELECT max(audit_id) FROM audit) - ?7 AND created_at > ?1 - ?8"
            " AND actor = ?2 AND address = ?4 AND action = ?6)",
            (
                *(now_us, origin.actor, origin.credential, origin.address, origin.way, text),
                *(REPEATED_ENTRIES_MAX, REPEATED_MICROSECONDS),
            ),
        )

    async def latest(self, limit: int, before: int | None = None) -> list[AuditEntry]:
        """Return the latest entries first; with `before` those before that number, for the next page."""
        entries: list[AuditEntry] = []
        # Again where some cannot be read: a page that is not full is the last one.
        while len(entries) < limit:
            rows = await self._database.rows(
                f"SELECT {_COLUMNS} FROM audit WHERE ?1 IS NULL OR audit_id < ?1 ORDER BY audit_id DESC LIMIT ?2",
                (before, limit - len(entries)),
            )
            if not rows:
                break
            entries += read_rows(rows, _entry)
            before = rows[-1][0]
        return entries

    async def _count_failed_sign_ins(self, now_us: int) -> int:
        rows = await self._database.rows(
            "SELECT count(*) FROM audit WHERE audit_id > (SELECT max(audit_id) FROM audit) - ? AND created_at > ?"
            " AND status >= ? AND action IN (?, ?)",
            (REPEATED_ENTRIES_MAX, now_us - REPEATED_MICROSECONDS, _STATUS_FAILED, SIGN_IN, SIGN_IN + FAILED_NOTE),
        )
        return int(rows[0][0])

    async def _insert(self, sql: str, values: Sequence[Any]) -> None:
        async with self._database.transaction():
            if await self._database.write(sql, values):
                await self._database.write(*delete_oldest_entries())

    async def list_unreadable(self) -> list[UnreadableRow]:
        """Return those of the latest entries that cannot be read."""
        rows = await self._database.rows(
            f"SELECT {_COLUMNS} FROM audit ORDER BY audit_id DESC LIMIT ?", (CHECKED_ROWS_MAX,)
        )
        return list_unreadable("audit", rows, _entry)


def _entry(row: Row) -> AuditEntry:
    values = dict(zip(_COLUMNS.split(", "), row, strict=True))
    for side in ("before", "after"):
        values[side] = msgspec.json.decode(values[side], type=dict[str, Any]) if values[side] else {}
    return AuditEntry(**values | {"created_at": to_datetime(values["created_at"])})
