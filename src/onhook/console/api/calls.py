"""`GET /api/v1/calls`, and one call with its legs in order."""

from typing import Annotated, Any

from litestar import Request, get
from litestar.params import PathParameter

from onhook.cdr.access_scope import AccessScope
from onhook.cdr.record import Call
from onhook.cdr.record_filter import TEXT_CHARACTERS_MAX
from onhook.console.auth.access import SCOPED, get_access_scope
from onhook.console.parameters import PAGE_DEFAULT, Cursor, Limit, SearchFilterDep
from onhook.console.problem_documents import PROBLEMS
from onhook.console.state import AppState, AppStateDep
from onhook.lib.errors import NotFound
from onhook.lib.messages import _
from onhook.store.contract import CallPage

AnyRequest = Request[Any, Any, Any]
Sn = Annotated[str, PathParameter(description="Serial number of the PBX", max_length=TEXT_CHARACTERS_MAX)]
CallId = Annotated[str, PathParameter(description="The call's id", max_length=TEXT_CHARACTERS_MAX)]


@get("/calls", opt=SCOPED, summary="List calls, the latest first", tags=["calls"], responses=PROBLEMS)
async def list_calls(
    app_state: AppStateDep, search_filter: SearchFilterDep, limit: Limit = PAGE_DEFAULT, cursor: Cursor = ""
) -> CallPage:
    """List matching calls with all their legs; a call is counted once."""
    return await app_state.store.calls(search_filter, limit, cursor or None)


@get(
    "/calls/{sn:str}/{call_id:str}",
    opt=SCOPED,
    summary="Read a call with its legs",
    tags=["calls"],
    responses=PROBLEMS,
)
async def read_call(request: AnyRequest, app_state: AppStateDep, sn: Sn, call_id: CallId) -> Call:
    """Read one call. A call whose id cannot be part of a path is found by `GET /calls?sn=…&call_id=…`."""
    return await find_call(app_state, sn, call_id, get_access_scope(request.scope))


async def find_call(app_state: AppState, sn: str, call_id: str, scope: AccessScope | None) -> Call:
    """Return the call. Raises the same `NotFound` for an unknown one and one outside of the scope."""
    call = await app_state.store.call(sn, call_id)
    if call is None or (scope is not None and not scope.allows_call(call)):
        raise NotFound(
            _("there is no call {call_id} of {sn}", call_id=repr(call_id[:80]), sn=repr(sn[:80])),
            hint=_("it may not have ended yet"),
        )
    return call
