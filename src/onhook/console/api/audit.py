"""`GET /api/v1/audit`: the audit log, for administrators only."""

from typing import Annotated

import msgspec
from litestar import get
from litestar.params import QueryParameter

from onhook.appdb.audit import AuditEntry
from onhook.console.auth.access import FOR_ADMINISTRATORS
from onhook.console.parameters import PAGE_DEFAULT, SEQ_MAX, Limit
from onhook.console.problem_documents import PROBLEMS
from onhook.console.state import AppStateDep

AuditCursor = Annotated[
    str,
    QueryParameter(description="`next` of the previous page", pattern=r"^[0-9]{0,18}$", max_length=len(str(SEQ_MAX))),
]


class AuditEntryPage(msgspec.Struct, frozen=True):
    """Entries, the latest first."""

    data: list[AuditEntry]
    next: str | None


@get("/audit", opt=FOR_ADMINISTRATORS, summary="List the audit log", tags=["access"], responses=PROBLEMS)
async def list_audit(app_state: AppStateDep, limit: Limit = PAGE_DEFAULT, cursor: AuditCursor = "") -> AuditEntryPage:
    """List an entry for each request that is meant to change something and for each sign-in, the latest first."""
    entries = app_state.appdb.audit.latest(limit, int(cursor) if cursor else None)
    return AuditEntryPage(entries, str(entries[-1].audit_id) if len(entries) == limit else None)
