"""`GET /api/v1/audit`: the audit log, for administrators only."""

import msgspec
from litestar import get

from onhook.appdb.audit import AuditEntry
from onhook.console.auth.access import FOR_ADMINISTRATORS
from onhook.console.parameters import PAGE_DEFAULT, AfterSeq, Limit
from onhook.console.problem_documents import PROBLEMS
from onhook.console.state import AppStateDep


class AuditEntryPage(msgspec.Struct, frozen=True):
    """Entries, the latest first."""

    data: list[AuditEntry]
    next: str | None


@get("/audit", opt=FOR_ADMINISTRATORS, summary="List the audit log", tags=["access"], responses=PROBLEMS)
async def list_audit(app_state: AppStateDep, limit: Limit = PAGE_DEFAULT, cursor: AfterSeq = "") -> AuditEntryPage:
    """List an entry for each change, by whichever way, and for each sign-in, the latest first."""
    entries = await app_state.appdb.audit.latest(limit, int(cursor) if cursor else None)
    return AuditEntryPage(entries, str(entries[-1].audit_id) if len(entries) == limit else None)
