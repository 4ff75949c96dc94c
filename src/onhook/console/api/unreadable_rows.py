"""`GET /api/v1/unreadable-rows`: what cannot be read in the application database, and is disabled therefore."""

import msgspec
from litestar import get

from onhook.appdb.stored_json import UnreadableRow
from onhook.console.auth.access import FOR_ADMINISTRATORS
from onhook.console.problem_documents import PROBLEMS
from onhook.console.state import AppStateDep


class UnreadableRowList(msgspec.Struct, frozen=True):
    """All rows that cannot be read."""

    data: list[UnreadableRow]


@get("/unreadable-rows", opt=FOR_ADMINISTRATORS, summary="List unreadable rows", tags=["access"], responses=PROBLEMS)
async def list_unreadable_rows(app_state: AppStateDep) -> UnreadableRowList:
    """List settings that this version cannot read, with the reason; each is disabled, and all others work."""
    return UnreadableRowList(await app_state.appdb.list_unreadable())
