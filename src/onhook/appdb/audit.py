"""Audit log: one line for each request that is meant to change something, and for each sign-in."""

from datetime import datetime

import msgspec

from onhook.appdb.sqlite import SqliteDatabase
from onhook.lib.timestamps import to_datetime

ENTRIES_MAX = 50_000
"""Years of changes by hand; the oldest are deleted first."""

TEXT_CHARACTERS_MAX = 300
"""Of a path: it contains names, never a secret, which travels in bodies."""


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Who sent a request, with which credential, from where, for what, and the status of the response."""

    audit_id: int
    created_at: datetime
    actor: str
    credential: str
    address: str
    action: str
    status: int


class Audit:
    """Repository of the audit log."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def add(self, *, now_us: int, actor: str, credential: str, address: str, action: str, status: int) -> None:
        """Add a line; `now_us` in microseconds since 1970."""
        with self._database.transaction():
            self._database.write(
                "INSERT INTO audit (created_at, actor, credential, address, action, status) VALUES (?, ?, ?, ?, ?, ?)",
                (now_us, actor, credential, address, action[:TEXT_CHARACTERS_MAX], status),
            )
            self._database.write(
                "DELETE FROM audit WHERE audit_id <= (SELECT max(audit_id) FROM audit) - ?", (ENTRIES_MAX,)
            )

    def latest(self, limit: int, before: int | None = None) -> list[AuditEntry]:
        """Return the latest lines first; with `before` those before that number, for the next page."""
        rows = self._database.rows(
            "SELECT audit_id, created_at, actor, credential, address, action, status FROM audit"
            " WHERE ?1 IS NULL OR audit_id < ?1 ORDER BY audit_id DESC LIMIT ?2",
            (before, limit),
        )
        return [
            AuditEntry(
                audit_id=audit_id,
                created_at=to_datetime(created_at),
                actor=actor,
                credential=credential,
                address=address,
                action=action,
                status=status,
            )
            for audit_id, created_at, actor, credential, address, action, status in rows
        ]
